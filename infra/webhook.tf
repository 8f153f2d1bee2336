# `webhook` faces the internet. It may put a hint on the queue, and nothing else.

module "webhook" {
  source = "./modules/function"

  name        = "${local.name}-webhook"
  role_name   = "${local.global_name}-webhook"
  description = "Verifies posts of Partner Center and puts a hint on the queue"

  zip          = local.zip.webhook
  architecture = var.architecture
  # 35 MB are used. More would buy a larger share of a processor for the few milliseconds of a signature.
  memory_mb = 128
  # Certificate and queue have deadlines that end within ten seconds; it shall answer 503 itself rather than be cut off.
  timeout_seconds = 15
  concurrency     = var.reserve_concurrency ? var.webhook_concurrency : -1

  environment = merge(local.common_settings, {
    CERTIFICATE_HOSTS  = join(",", var.certificate_hosts)
    ISSUER_HOSTS       = join(",", var.issuer_hosts)
    QUEUE_URL          = aws_sqs_queue.hints.url
    TRUST_ANCHORS_FILE = var.trust_anchors_file
  })

  kms_key_arn        = local.key_arn
  log_retention_days = var.log_retention_days

  statements = [
    {
      Sid      = "SendHints"
      Action   = ["sqs:SendMessage"]
      Resource = [aws_sqs_queue.hints.arn]
    },
    {
      # SQS asks for both of whoever sends to an encrypted queue.
      # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
      Sid       = "EncryptHints"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = [local.key_arn]
      Condition = local.via.sqs
    },
  ]
}
