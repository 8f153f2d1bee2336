# The queue of hints and its dead letters. FIFO: hints about one deal keep their order, repeats within five minutes are one.

resource "aws_sqs_queue" "hints" {
  name       = "${local.name}-hints.fifo"
  fifo_queue = true # Default: standard, which keeps no order.

  # Default: 30 s. AWS asks for six times the function's timeout, so that a message does not come back while its batch is
  # still tried: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
  visibility_timeout_seconds = 6 * var.sync_timeout_seconds
  # Default: 4 days. An outage over a long weekend loses nothing; 14 is the longest.
  message_retention_seconds = 14 * 24 * 60 * 60
  kms_master_key_id         = local.key_arn # Default: SQS's own key.

  # Default: none. A hint that a deal cannot be worked on finishes its message and waits in the ledger; what fails five
  # times is poison or a crash, and a person looks at it.
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = 5
  })
}

# No batch of five receives is ever lost in here: only the hints may put theirs.
resource "aws_sqs_queue" "dead_letters" {
  name                      = "${local.name}-dead-letters.fifo"
  fifo_queue                = true              # A FIFO queue's dead letters are FIFO.
  message_retention_seconds = 14 * 24 * 60 * 60 # Default: 4 days; the longest there is.
  kms_master_key_id         = local.key_arn     # Default: SQS's own key.
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id

  # Default: every queue of the account.
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.hints.arn]
  })
}

# Invocations that a schedule could not deliver. Standard: EventBridge Scheduler takes no FIFO queue.
resource "aws_sqs_queue" "missed_runs" {
  name                      = "${local.name}-missed-runs"
  message_retention_seconds = 14 * 24 * 60 * 60 # Default: 4 days; the longest there is.
  kms_master_key_id         = local.key_arn     # Default: SQS's own key.
}

locals {
  queues = {
    hints        = aws_sqs_queue.hints
    dead_letters = aws_sqs_queue.dead_letters
    missed_runs  = aws_sqs_queue.missed_runs
  }
}

# Who may use a queue is said by the roles. This only refuses what does not come over TLS, whoever asks.
resource "aws_sqs_queue_policy" "tls_only" {
  for_each = local.queues

  queue_url = each.value.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "RefusePlainHttp"
      Effect    = "Deny"
      Principal = "*"
      Action = [
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:PurgeQueue",
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
      ]
      Resource  = each.value.arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}
