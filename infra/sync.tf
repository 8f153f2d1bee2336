# `sync` holds both credentials and writes to both vendors. Its rights are those of the calls it makes.

module "sync" {
  source = "./modules/function"

  name        = "${local.name}-sync"
  role_name   = "${local.global_name}-sync"
  description = "Finds what changed and brings one deal after the other into step"

  zip          = local.zip.sync
  architecture = var.architecture
  # It waits for the vendors most of the time; the share of a processor that comes with it parses pages of 1 MB.
  memory_mb       = 256
  timeout_seconds = var.sync_timeout_seconds
  # The workers, the three scheduled runs, and two commands by hand: the trigger must never find its workers throttled.
  concurrency = var.reserve_concurrency ? var.workers + 5 : -1

  environment = merge(local.common_settings, local.partner_center_settings, {
    AUDIT_TABLE         = aws_dynamodb_table.audit.name
    DATAVERSE_RATE      = tostring(var.dataverse_rate)
    DATAVERSE_SECRET    = aws_secretsmanager_secret.dataverse.arn
    DATAVERSE_TENANT_ID = local.dataverse_tenant_id
    DATAVERSE_URL       = var.dataverse_url
    DISPLAY_CHECKMARK   = tostring(var.display_checkmark)
    DRY_RUN             = tostring(var.dry_run)
    LINKS_TABLE         = aws_dynamodb_table.links.name
    MAPPING_FILE        = "mapping.toml" # Packed beside the program by `make build`; infra/run sees that it is this environment's.
    PARTNER_CENTER_RATE = tostring(var.partner_center_rate)
    PARTNER_CENTER_URL  = var.partner_center_url
    PAUSED              = var.paused
    QUEUE_URL           = aws_sqs_queue.hints.url
    SETTLE_SECONDS      = tostring(var.settle_seconds)
    CLOSE_DELAY_SECONDS = tostring(var.close_delay_seconds)
    SYNC_COSELL_ONLY    = tostring(var.sync_cosell_only)
    WAITS_PERCENT       = tostring(var.waits_percent)
    WORKERS             = tostring(var.workers)
  })

  kms_key_arn        = local.key_arn
  log_retention_days = var.log_retention_days

  statements = [
    {
      # The three calls that Lambda's trigger makes with the function's role.
      Sid      = "TakeHints"
      Action   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
      Resource = [aws_sqs_queue.hints.arn]
    },
    {
      Sid      = "SendHints"
      Action   = ["sqs:SendMessage"]
      Resource = [aws_sqs_queue.hints.arn]
    },
    {
      Sid       = "EncryptHints"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = [local.key_arn]
      Condition = local.via.sqs
    },
    {
      # A transaction needs the rights of its parts, which are all puts.
      Sid      = "ReadAndPutLinks"
      Action   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Scan"]
      Resource = [aws_dynamodb_table.links.arn]
    },
    {
      # The table itself is asked for the links that have seen a solution row.
      Sid    = "ListLinks"
      Action = ["dynamodb:Query"]
      Resource = [
        aws_dynamodb_table.links.arn,
        "${aws_dynamodb_table.links.arn}/index/attention",
        "${aws_dynamodb_table.links.arn}/index/due",
      ]
    },
    {
      # Nobody may update or delete a record. IAM cannot tell a put that replaces from one that creates; each put of the
      # code is conditional on there being none.
      Sid      = "PutAuditRecords"
      Action   = ["dynamodb:PutItem"]
      Resource = [aws_dynamodb_table.audit.arn]
    },
    {
      Sid      = "ListAuditRecords"
      Action   = ["dynamodb:Query"]
      Resource = [aws_dynamodb_table.audit.arn, "${aws_dynamodb_table.audit.arn}/index/day"]
    },
    {
      # DynamoDB decrypts the table's own key in the name of the caller, for reads and puts alike.
      # https://github.com/aws/aws-cdk/issues/10010
      Sid       = "OpenTables"
      Action    = ["kms:Decrypt"]
      Resource  = [local.key_arn]
      Condition = local.via.dynamodb
    },
    {
      Sid      = "ReadCredentials"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = [aws_secretsmanager_secret.dataverse.arn, aws_secretsmanager_secret.partner_center.arn]
    },
    {
      # A renewed refresh token replaces the version it was made from. The credential for Dynamics is never renewed here.
      Sid      = "KeepRenewedToken"
      Action   = ["secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"]
      Resource = [aws_secretsmanager_secret.partner_center.arn]
    },
    {
      Sid       = "OpenCredentials"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = [local.key_arn]
      Condition = local.via.secretsmanager
    },
  ]
}

locals {
  dataverse_tenant_id = coalesce(var.dataverse_tenant_id, var.partner_tenant_id)
}

resource "aws_lambda_event_source_mapping" "hints" {
  function_name    = module.sync.arn
  event_source_arn = aws_sqs_queue.hints.arn

  # Default: 10, the most a FIFO queue gives. Said, because it bounds how many deals one crash holds up.
  batch_size = 10
  # Default: none, so that one failed deal would bring the whole batch back.
  function_response_types = ["ReportBatchItemFailures"]

  # Default: as many as there are deals at a time. What this allows is what the rates are divided among.
  scaling_config {
    maximum_concurrency = var.workers
  }
}
