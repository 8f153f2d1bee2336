# The runs that nobody asks for: two polls, the daily comparison, the daily inspection of the registration.

locals {
  runs = {
    poll-dynamics = {
      schedule = var.schedules.poll_dynamics
      function = module.sync.arn
      input    = { run = "poll-dynamics" }
      about    = "Changed opportunities and due deals become hints"
      # The next run comes soon and does the same.
      retries = 0
      seconds = 60
    }
    poll-partner-center = {
      schedule = var.schedules.poll_partner_center
      function = module.sync.arn
      input    = { run = "poll-partner-center" }
      about    = "Changed referrals and due deals become hints: what a lost webhook would have told"
      retries  = 1
      seconds  = 120
    }
    compare = {
      schedule = var.schedules.compare
      function = module.sync.arn
      input    = { run = "compare" }
      about    = "Every link becomes a hint, so that nothing drifts for longer than a day"
      # The next one is a day away.
      retries = 10
      seconds = 3600
    }
    inspect = {
      schedule = var.schedules.inspect
      function = module.registration.arn
      input    = { action = "inspect" }
      about    = "Is the webhook still registered, here and for all events?"
      retries  = 10
      seconds  = 3600
    }
  }

  # Without credentials a run could only fail, every minute. The apply after both secrets got a value switches them on.
  schedule_state = local.has_credentials ? "ENABLED" : "DISABLED"
}

resource "aws_scheduler_schedule_group" "this" {
  name = local.name
}

resource "aws_scheduler_schedule" "this" {
  #checkov:skip=CKV_AWS_297:what it holds is the name of a run, which stands in this file too
  for_each = local.runs

  name                = each.value.schedule.name
  group_name          = aws_scheduler_schedule_group.this.name # Default: the account's `default` group.
  description         = each.value.about
  schedule_expression = each.value.schedule.rate
  state               = local.schedule_state # Default: ENABLED.

  # On the minute: lag is what these runs are about.
  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = each.value.function
    role_arn = aws_iam_role.schedules.arn
    input    = jsonencode(each.value.input)

    # Default: 185 attempts within a day, which would pile up behind an outage.
    retry_policy {
      maximum_event_age_in_seconds = each.value.seconds
      maximum_retry_attempts       = each.value.retries
    }

    # Default: none. What could not even be delivered is kept and alarmed on.
    dead_letter_config {
      arn = aws_sqs_queue.missed_runs.arn
    }
  }

  # Created only when the role can do what the schedule is for.
  depends_on = [aws_iam_role_policy.schedules]
}

resource "aws_iam_role" "schedules" {
  name        = "${local.global_name}-schedules"
  description = "What the schedules of ${local.name} may do"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "SchedulerActsAs"
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
      # Only for schedules of this group; else those of other accounts could use the role through the same service.
      # https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
      Condition = {
        StringEquals = {
          "aws:SourceAccount" = local.account
          "aws:SourceArn"     = "arn:${local.partition}:scheduler:${var.region}:${local.account}:schedule-group/${local.name}"
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "schedules" {
  name = "own"
  role = aws_iam_role.schedules.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "StartRuns"
        Effect   = "Allow"
        Action   = ["lambda:InvokeFunction"]
        Resource = [module.registration.arn, module.sync.arn]
      },
      {
        Sid      = "KeepMissedRuns"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = [aws_sqs_queue.missed_runs.arn]
      },
      {
        Sid       = "EncryptMissedRuns"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [local.key_arn]
        Condition = local.via.sqs
      },
    ]
  })
}
