# The health of the sync at a glance. First row: is it well? Then: how fast, how much, what waits, how the vendors answer,
# what the machinery does.

locals {
  # Widgets of 8 columns, three in a row of six lines each. `lines` are metrics in CloudWatch's own notation:
  # namespace, name, dimension, value, options.
  graphs = [
    {
      title = "Lag from a change to the other side (ms)", stat = "p50", view = "timeSeries"
      lines = [
        [local.metrics_namespace, "LagMilliseconds", "function", "sync", { label = "p50", stat = "p50" }],
        [local.metrics_namespace, "LagMilliseconds", "function", "sync", { label = "p99", stat = "p99" }],
      ]
    },
    {
      title = "Changes per direction", stat = "Sum", view = "timeSeries"
      lines = [
        [local.metrics_namespace, "WritesTowardDynamics", "function", "sync", { label = "toward Dynamics" }],
        [local.metrics_namespace, "WritesTowardPartnerCenter", "function", "sync", { label = "toward Partner Center" }],
        [local.metrics_namespace, "Echoes", "function", "sync", { label = "nothing to do" }],
      ]
    },
    {
      title = "Waiting deals", stat = "Maximum", view = "timeSeries"
      lines = [
        [local.metrics_namespace, "DealsNeedingAttention", "function", "sync", { label = "for a person" }],
        [local.metrics_namespace, "DealsOverdue", "function", "sync", { label = "overdue" }],
        [local.metrics_namespace, "DealsDue", "function", "sync", { label = "put off", stat = "Sum" }],
      ]
    },
    {
      title = "Conflicts and drift", stat = "Sum", view = "timeSeries"
      lines = [
        [local.metrics_namespace, "ValuesOverruled", "function", "sync", { label = "values overruled" }],
        [local.metrics_namespace, "DealsDrifted", "function", "sync", { label = "drift found by the comparison" }],
        [local.metrics_namespace, "DealsParked", "function", "sync", { label = "parked" }],
      ]
    },
    {
      title = "Vendor calls by status", stat = "Sum", view = "timeSeries"
      lines = [
        [local.metrics_namespace, "VendorCalls", "function", "sync", { label = "all" }],
        [local.metrics_namespace, "VendorRefusals", "function", "sync", { label = "refused (4xx)" }],
        [local.metrics_namespace, "VendorFailures", "function", "sync", { label = "failed (5xx, no answer)" }],
        [local.metrics_namespace, "VendorThrottles", "function", "sync", { label = "throttled (429)" }],
      ]
    },
    {
      title = "Fatal faults", stat = "Sum", view = "timeSeries"
      lines = [
        [local.metrics_namespace, "FatalFaults", "function", "sync", { label = "sync" }],
        [local.metrics_namespace, "FatalFaults", "function", "registration", { label = "registration" }],
      ]
    },
    {
      title = "Posts of Partner Center", stat = "Sum", view = "timeSeries"
      lines = [
        [local.metrics_namespace, "HintsQueued", "function", "webhook", { label = "queued" }],
        [local.metrics_namespace, "EventsIgnored", "function", "webhook", { label = "ignored" }],
        [local.metrics_namespace, "EventsTest", "function", "webhook", { label = "tests" }],
        [local.metrics_namespace, "PostsRefused", "function", "webhook", { label = "refused" }],
        [local.metrics_namespace, "HintsRefused", "function", "webhook", { label = "not queued" }],
      ]
    },
    {
      title = "Queue", stat = "Maximum", view = "timeSeries"
      lines = [
        ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.hints.name, { label = "oldest hint (s)" }],
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.hints.name, { label = "hints" }],
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.dead_letters.name, { label = "dead letters" }],
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.missed_runs.name, { label = "missed runs" }],
      ]
    },
    {
      title = "How far the poll of Dynamics is behind (s)", stat = "Maximum", view = "timeSeries"
      lines = [
        [local.metrics_namespace, "DynamicsCursorAgeSeconds", "function", "sync", { label = "since it was caught up" }],
      ]
    },
    {
      title = "Errors and throttles of the functions", stat = "Sum", view = "timeSeries"
      lines = flatten([
        for name, function in { webhook = module.webhook.name, sync = module.sync.name, registration = module.registration.name } : [
          { line = ["AWS/Lambda", "Errors", "FunctionName", function, { label = "${name}: errors" }] },
          { line = ["AWS/Lambda", "Throttles", "FunctionName", function, { label = "${name}: throttles" }] },
        ]
      ])[*].line
    },
    {
      title = "Duration of the functions, p99 (ms)", stat = "p99", view = "timeSeries"
      lines = [
        ["AWS/Lambda", "Duration", "FunctionName", module.webhook.name, { label = "webhook" }],
        ["AWS/Lambda", "Duration", "FunctionName", module.sync.name, { label = "sync" }],
      ]
    },
    {
      title = "Registration and refresh token, last inspection", stat = "Maximum", view = "singleValue"
      lines = [
        [local.metrics_namespace, "RegistrationsDrifted", "function", "registration", { label = "drifted (0 is well)" }],
        [local.metrics_namespace, "RefreshTokenAgeSeconds", "function", "registration", { label = "age of the token (s)" }],
      ]
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = local.global_name

  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type = "alarm", x = 0, y = 0, width = 24, height = 4
        properties = {
          title  = "Alarms of ${local.name}"
          alarms = [for alarm in aws_cloudwatch_metric_alarm.this : alarm.arn]
        }
      }],
      [for place, graph in local.graphs : {
        type = "metric", x = 8 * (place % 3), y = 4 + 6 * floor(place / 3), width = 8, height = 6
        properties = merge(
          { title = graph.title, region = var.region, stat = graph.stat, view = graph.view, metrics = graph.lines },
          # Inspections come once a day: a shorter period would show nothing for most of it.
          { period = graph.view == "singleValue" ? 86400 : 300 },
        )
      }],
    )
  })
}
