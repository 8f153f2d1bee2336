# `registration` looks after the webhook's registration at Partner Center; an apply ends with it.

module "registration" {
  source = "./modules/function"

  name        = "${local.name}-registration"
  role_name   = "${local.global_name}-registration"
  description = "Inspects, repairs and proves the registration of the webhook"

  zip          = local.zip.registration
  architecture = var.architecture
  memory_mb    = 128
  # A test event is waited for up to a minute, and reading and writing the registration come before.
  timeout_seconds = 120
  # One who inspects by schedule and one by hand. More would only write over each other.
  concurrency = var.reserve_concurrency ? 2 : -1

  environment = merge(local.common_settings, local.partner_center_settings, {
    PARTNER_CENTER_WEBHOOKS_URL = var.partner_center_webhooks_url
    WEBHOOK_EVENTS              = local.webhook_events
    WEBHOOK_URL                 = local.webhook_url
  })

  kms_key_arn        = local.key_arn
  log_retention_days = var.log_retention_days

  statements = [
    {
      Sid      = "ReadCredential"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = [aws_secretsmanager_secret.partner_center.arn]
    },
    {
      Sid      = "KeepRenewedToken"
      Action   = ["secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"]
      Resource = [aws_secretsmanager_secret.partner_center.arn]
    },
    {
      Sid       = "OpenCredential"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = [local.key_arn]
      Condition = local.via.secretsmanager
    },
  ]
}

locals {
  webhook_events = join(",", var.webhook_events)
}

# The last step of an apply: everything that receives must be there before Microsoft is told to post. Before the consent the
# function answers "awaiting_consent" and the apply succeeds; the apply after it registers. A registration that leads
# elsewhere is left alone: the apply then ends with the function's error, which names that address. Every change of the input
# or of a trigger runs it again.
resource "aws_lambda_invocation" "registration" {
  function_name = module.registration.name
  # A dry run looks, and leaves the registration to whoever has it.
  input = jsonencode({ action = var.dry_run ? "inspect" : "register" })

  # Default: none, so that it would run once in its life. What is registered depends on these.
  triggers = {
    code        = module.registration.code_hash
    events      = local.webhook_events
    has_consent = tostring(local.has_consent)
    tenant      = var.partner_tenant_id
    url         = local.webhook_url
  }

  depends_on = [
    module.webhook,
    module.sync,
    module.registration,
    aws_apigatewayv2_stage.this,
    aws_apigatewayv2_route.webhook,
    aws_cloudformation_stack.function_url_permission,
    aws_cloudwatch_dashboard.this,
    aws_cloudwatch_metric_alarm.this,
    aws_kms_alias.this,
    aws_lambda_event_source_mapping.hints,
    aws_lambda_permission.api,
    aws_lambda_permission.function_url,
    aws_scheduler_schedule.this,
    aws_sns_topic_policy.alarms,
    aws_sns_topic_subscription.mail,
    aws_sqs_queue_policy.tls_only,
    aws_sqs_queue_redrive_allow_policy.dead_letters,
  ]
}
