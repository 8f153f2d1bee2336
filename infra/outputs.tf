# What is needed after an apply. Nothing secret: names and addresses only.

output "webhook_url" {
  description = "Address that is registered at Partner Center, with the owner mark."
  value       = local.webhook_url
}

output "registration" {
  description = "What `registration` answered when it was last asked to register: desired, found, done. \"awaiting_consent\" until the consent was given."
  value       = jsondecode(aws_lambda_invocation.registration.result)
}

output "has_credentials" {
  description = "Whether both secrets had a value at this apply. The schedules are off until then: give consent, store the credentials, and deploy again."
  value       = local.has_credentials
}

output "paused" {
  description = "Direction in which nothing is written."
  value       = var.paused
}

output "dashboard_url" {
  description = "The dashboard in the AWS console."
  value       = "https://${var.region}.console.aws.amazon.com/cloudwatch/home?region=${var.region}#dashboards/dashboard/${local.global_name}"
}

output "alarm_topic_arn" {
  description = "Topic that all alarms go to; subscribe whatever else should hear of them."
  value       = aws_sns_topic.alarms.arn
}

output "dead_letters_url" {
  description = "Queue of hints that failed every time they were tried."
  value       = aws_sqs_queue.dead_letters.url
}

output "queue_url" {
  description = "Queue of hints."
  value       = aws_sqs_queue.hints.url
}

output "queues" {
  description = "Names of the queues: hints, their dead letters, missed runs."
  value       = { for name, queue in local.queues : name => queue.name }
}

output "functions" {
  description = "Names of the functions."
  value       = { webhook = module.webhook.name, sync = module.sync.name, registration = module.registration.name }
}

output "tables" {
  description = "Names of the tables: links, audit records."
  value       = { links = aws_dynamodb_table.links.name, audit = aws_dynamodb_table.audit.name }
}

output "is_protected" {
  description = "Whether the tables refuse to be deleted; `infra/run destroy` asks this first."
  value       = local.is_protected
}

output "missed_runs_url" {
  description = "Queue of runs that a schedule could not start."
  value       = aws_sqs_queue.missed_runs.url
}

output "kms_key_arn" {
  description = "Key that everything is encrypted with."
  value       = local.key_arn
}

output "log_groups" {
  description = "Logs of the functions and of the API."
  value       = local.log_groups
}

output "operator" {
  description = "What the admin's command needs to know, as its environment variables; `infra/run operator ENV` writes it to a file."
  value = {
    AWS_REGION                  = var.region
    ENVIRONMENT                 = var.environment
    ENTRA_URL                   = var.entra_url
    PARTNER_TENANT_ID           = var.partner_tenant_id
    DATAVERSE_TENANT_ID         = local.dataverse_tenant_id
    PARTNER_CENTER_URL          = var.partner_center_url
    PARTNER_CENTER_WEBHOOKS_URL = var.partner_center_webhooks_url
    PARTNER_CENTER_SECRET       = aws_secretsmanager_secret.partner_center.arn
    DATAVERSE_URL               = var.dataverse_url
    DATAVERSE_SECRET            = aws_secretsmanager_secret.dataverse.arn
    QUEUE_URL                   = aws_sqs_queue.hints.url
    LINKS_TABLE                 = aws_dynamodb_table.links.name
    AUDIT_TABLE                 = aws_dynamodb_table.audit.name
    MAPPING_FILE                = var.mapping # Relative to where `make` is called: an absolute path would differ with the computer.
    WEBHOOK_URL                 = local.webhook_url
    WEBHOOK_EVENTS              = local.webhook_events
    SYNC_COSELL_ONLY            = tostring(var.sync_cosell_only)
    DISPLAY_CHECKMARK           = tostring(var.display_checkmark)
    DRY_RUN                     = tostring(var.dry_run)
    WEBHOOK_FUNCTION            = module.webhook.name
    SYNC_FUNCTION               = module.sync.name
    REGISTRATION_FUNCTION       = module.registration.name
  }
}
