# What a person is told about. Each alarm says in its description what it means and what to do; all go to one topic.
#
# `missing` is what a period without figures means. Figures of our own come from runs of the schedules, so their absence is
# itself a sign, once there are credentials to run with.

locals {
  minutes = {
    for name, poll in { dynamics = var.schedules.poll_dynamics, partner_center = var.schedules.poll_partner_center } :
    name => poll.rate == "rate(1 hour)" ? 60 : tonumber(regex("[0-9]+", poll.rate))
  }
  # An alarm looks at no less than five minutes, and at no less than two runs of what it watches.
  period = { for name, minutes in local.minutes : name => max(300, 120 * minutes) }

  our_alarms = {
    attention = {
      about    = "Deals wait for a person: each shows its reason in Dynamics and in the link table's index `attention`. Resolve them, or raise the threshold to what is normal for you."
      function = "sync"
      metric   = "DealsNeedingAttention"
      # The first deal: what waits for a person waits for ever if nobody hears of it.
      threshold = var.alarm_thresholds.attention_deals
      statistic = "Maximum"
      period    = local.period.partner_center
      missing   = "ignore"
    }
    cursor-age = {
      about     = "Changes in Dynamics are not being read. Look into the log of sync for its runs of poll-dynamics."
      function  = "sync"
      metric    = "DynamicsCursorAgeSeconds"
      threshold = var.alarm_thresholds.cursor_age_seconds # 15 min: one restart of the vendor's service is shorter.
      statistic = "Maximum"
      period    = local.period.dynamics
      # No figure means that the poll does not run at all. Before the credentials it is not meant to.
      missing = local.has_credentials ? "breaching" : "notBreaching"
    }
    fatal-sync = {
      about     = "Credentials or configuration are wrong, which no retry mends. The log of sync names what; the admin's command `doctor` names the cure."
      function  = "sync"
      metric    = "FatalFaults"
      threshold = 0
      statistic = "Sum"
      period    = local.period.dynamics
      missing   = "notBreaching"
    }
    fatal-registration = {
      about     = "The webhook's registration cannot be inspected: credentials or configuration are wrong. The log of registration names what."
      function  = "registration"
      metric    = "FatalFaults"
      threshold = 0
      statistic = "Sum"
      period    = 300
      # Its figure comes once a day, with the inspection. Until the next one it stays as it is.
      missing = "ignore"
    }
    refresh-token-age = {
      about    = "The refresh token for Partner Center was last renewed long ago; at 90 days without use Microsoft ends it and the sync stops. Give consent again."
      function = "registration"
      metric   = "RefreshTokenAgeSeconds"
      # 60 days: it is renewed in everyday use, so this age says that something is wrong, with a month left to mend it.
      threshold = var.alarm_thresholds.refresh_token_age_days * 24 * 60 * 60
      statistic = "Maximum"
      period    = 300
      missing   = "ignore" # One figure a day.
    }
    registration-drift = {
      about     = "Partner Center posts elsewhere, or not all events. Until it is mended changes arrive with the poll. The next deploy, or {\"action\": \"register\"}, mends it; a foreign address is shown and left alone."
      function  = "registration"
      metric    = "RegistrationsDrifted"
      threshold = 0
      statistic = "Maximum"
      period    = 300
      missing   = "ignore" # One figure a day.
    }
    refused-posts = {
      about    = "Posts whose signature did not prove them Microsoft's. A few are scanners; many are an attack, or a certificate that Microsoft keeps at a host that is not in certificate_hosts."
      function = "webhook"
      metric   = "PostsRefused"
      # 20 in five minutes: more than scanners send to an address nobody has published.
      threshold = var.alarm_thresholds.refused_posts
      statistic = "Sum"
      period    = 300
      missing   = "notBreaching"
    }
  }

  service_alarms = merge(
    {
      dead-letters = {
        about      = "A hint failed every time it was tried: it is malformed, or its deal crashes the function. The message names the deal; the log of sync says why."
        namespace  = "AWS/SQS"
        metric     = "ApproximateNumberOfMessagesVisible"
        dimensions = { QueueName = aws_sqs_queue.dead_letters.name }
        threshold  = 0
        statistic  = "Maximum"
        datapoints = 1
      }
      missed-runs = {
        about      = "A schedule could not start its run. The message in the queue says why."
        namespace  = "AWS/SQS"
        metric     = "ApproximateNumberOfMessagesVisible"
        dimensions = { QueueName = aws_sqs_queue.missed_runs.name }
        threshold  = 0
        statistic  = "Maximum"
        datapoints = 1
      }
      oldest-hint = {
        about      = "Hints wait too long: sync does not keep up, or fails."
        namespace  = "AWS/SQS"
        metric     = "ApproximateAgeOfOldestMessage"
        dimensions = { QueueName = aws_sqs_queue.hints.name }
        threshold  = var.alarm_thresholds.oldest_hint_seconds # 15 min: one return of a message after a crash is shorter.
        statistic  = "Maximum"
        datapoints = 1
      }
      schedule-errors = {
        about      = "EventBridge Scheduler cannot invoke a function."
        namespace  = "AWS/Scheduler"
        metric     = "TargetErrorCount"
        dimensions = { ScheduleGroup = aws_scheduler_schedule_group.this.name }
        threshold  = 0
        statistic  = "Sum"
        datapoints = 1
      }
      webhook-5xx = {
        about      = "Posts of Partner Center were answered with an error; it delivers again, and the poll repairs what it gives up."
        namespace  = local.has_api ? "AWS/ApiGateway" : "AWS/Lambda"
        metric     = local.has_api ? "5xx" : "Url5xxCount"
        dimensions = local.has_api ? { ApiId = local.api_id } : { FunctionName = module.webhook.name }
        threshold  = 0
        statistic  = "Sum"
        datapoints = 2
      }
    },
    merge([
      for name, function in { webhook = module.webhook, sync = module.sync, registration = module.registration } : {
        "${name}-errors" = {
          about      = "Invocations of ${name} fail; its log says why."
          namespace  = "AWS/Lambda"
          metric     = "Errors"
          dimensions = { FunctionName = function.name }
          threshold  = 0
          statistic  = "Sum"
          # A single failed run is repaired by the next one. registration has no next one before tomorrow.
          datapoints = name == "registration" ? 1 : 2
        }
        "${name}-throttles" = {
          about      = "${name} is invoked more often than its reserved concurrency, or the account's quota, allows."
          namespace  = "AWS/Lambda"
          metric     = "Throttles"
          dimensions = { FunctionName = function.name }
          threshold  = 0
          statistic  = "Sum"
          datapoints = name == "registration" ? 1 : 2
        }
      }
    ]...),
  )

  alarms = merge(
    {
      for name, alarm in local.our_alarms : name => {
        about      = alarm.about
        namespace  = local.metrics_namespace
        metric     = alarm.metric
        dimensions = { function = alarm.function }
        threshold  = alarm.threshold
        statistic  = alarm.statistic
        datapoints = 1
        periods    = 1
        period     = alarm.period
        missing    = alarm.missing
      }
    },
    {
      for name, alarm in local.service_alarms : name => {
        about      = alarm.about
        namespace  = alarm.namespace
        metric     = alarm.metric
        dimensions = alarm.dimensions
        threshold  = alarm.threshold
        statistic  = alarm.statistic
        datapoints = alarm.datapoints
        periods    = alarm.datapoints == 1 ? 1 : 3
        period     = 300
        missing    = "notBreaching" # AWS reports nothing where nothing happened.
      }
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name        = "${local.name}-${each.key}"
  alarm_description = each.value.about

  namespace   = each.value.namespace
  metric_name = each.value.metric
  dimensions  = each.value.dimensions
  statistic   = each.value.statistic
  period      = each.value.period

  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.datapoints # Default: all periods.
  treat_missing_data  = each.value.missing    # Default: missing, which ends in a state of its own that nobody watches.

  # A dry run registers nothing, which is what this one would report every day.
  actions_enabled = !(var.dry_run && each.key == "registration-drift")
  alarm_actions   = [aws_sns_topic.alarms.arn]
  ok_actions      = [aws_sns_topic.alarms.arn] # Default: none. That it is over is worth a mail, too.
}
