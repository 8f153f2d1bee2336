# What a deployment consists of: limits, retention, encryption, schedules, alarms, names.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment       = "staging"
  region            = "eu-west-1"
  partner_tenant_id = "11111111-2222-3333-4444-555555555555"
  dataverse_url     = "https://contoso.crm4.dynamics.com"
  zip_folder        = "tests/zips"
}

run "functions_have_limits" {
  assert {
    condition = { for name, f in { webhook = module.webhook.limits, sync = module.sync.limits, registration = module.registration.limits } : name => f } == {
      webhook      = { memory_mb = 128, timeout_seconds = 15, concurrency = 10, runtime = "provided.al2023", handler = "bootstrap", architecture = "arm64", retries = 1, age_seconds = 300 }
      sync         = { memory_mb = 256, timeout_seconds = 120, concurrency = 10, runtime = "provided.al2023", handler = "bootstrap", architecture = "arm64", retries = 1, age_seconds = 300 }
      registration = { memory_mb = 128, timeout_seconds = 120, concurrency = 2, runtime = "provided.al2023", handler = "bootstrap", architecture = "arm64", retries = 1, age_seconds = 300 }
    }
    error_message = "Memory, time, concurrency or runtime of a function is another."
  }
  assert {
    condition = { for name, hash in { webhook = module.webhook.code_hash, sync = module.sync.code_hash, registration = module.registration.code_hash } : name => hash } == {
      for name in ["webhook", "sync", "registration"] : name => filebase64sha256("tests/zips/${name}.zip")
    }
    error_message = "A function has another's program."
  }
}

run "a_new_account_reserves_nothing" {
  variables {
    reserve_concurrency = false
  }
  assert {
    condition     = alltrue([for limits in [module.webhook.limits, module.sync.limits, module.registration.limits] : limits.concurrency == -1])
    error_message = "Concurrency was reserved although it must not be."
  }
}

run "what_the_customer_sets_is_what_runs" {
  variables {
    architecture        = "x86_64"
    webhook_concurrency = 3
    webhook_burst       = 7
    webhook_rate        = 2
    log_level           = "debug"
    certificate_hosts   = ["certificates.example.com", "more.example.com"]
    issuer_hosts        = ["issuers.example.com"]
    trust_anchors_file  = "roots.pem"
    webhook_events      = ["referral-updated"]
    dataverse_tenant_id = "66666666-7777-8888-9999-000000000000"
    dataverse_rate      = 8
    partner_center_rate = 3
    display_checkmark   = false
    sync_cosell_only    = false
    mapping             = "./shared/cosell/mapping.toml"
    close_delay_seconds = 60
    settle_seconds      = 900
    waits_percent       = 50
    alarm_thresholds = {
      oldest_hint_seconds    = 1800
      attention_deals        = 4
      cursor_age_seconds     = 3600
      refresh_token_age_days = 30
      refused_posts          = 100
    }
  }
  assert {
    condition     = alltrue([for limits in [module.webhook.limits, module.sync.limits, module.registration.limits] : limits.architecture == "x86_64"]) && module.webhook.limits.concurrency == 3
    error_message = "Functions run on another processor, or the webhook more often at a time, than asked."
  }
  assert {
    condition = (
      aws_apigatewayv2_stage.this[0].default_route_settings[0].throttling_burst_limit == 7
      && aws_apigatewayv2_stage.this[0].default_route_settings[0].throttling_rate_limit == 2
    )
    error_message = "The API takes more posts than asked."
  }
  assert {
    condition     = output.operator.MAPPING_FILE == "./shared/cosell/mapping.toml"
    error_message = "The admin's command examines another mapping than the one asked for."
  }
  assert {
    condition     = alltrue([for settings in [module.webhook.settings, module.sync.settings, module.registration.settings] : settings.LOG_LEVEL == "debug"])
    error_message = "A function logs another level than asked."
  }
  assert {
    condition = (
      module.webhook.settings.CERTIFICATE_HOSTS == "certificates.example.com,more.example.com"
      && module.webhook.settings.ISSUER_HOSTS == "issuers.example.com"
      && module.webhook.settings.TRUST_ANCHORS_FILE == "roots.pem"
    )
    error_message = "The webhook trusts others than asked."
  }
  assert {
    condition = { for name, value in module.sync.settings : name => value if contains(["CLOSE_DELAY_SECONDS", "DATAVERSE_RATE", "DATAVERSE_TENANT_ID", "DISPLAY_CHECKMARK", "PARTNER_CENTER_RATE", "SETTLE_SECONDS", "SYNC_COSELL_ONLY", "WAITS_PERCENT"], name) } == {
      CLOSE_DELAY_SECONDS = "60"
      DATAVERSE_RATE      = "8"
      DATAVERSE_TENANT_ID = "66666666-7777-8888-9999-000000000000"
      DISPLAY_CHECKMARK   = "false"
      PARTNER_CENTER_RATE = "3"
      SETTLE_SECONDS      = "900"
      SYNC_COSELL_ONLY    = "false"
      WAITS_PERCENT       = "50"
    }
    error_message = "sync works by other settings than asked."
  }
  assert {
    condition     = module.registration.settings.WEBHOOK_EVENTS == "referral-updated" && aws_lambda_invocation.registration.triggers.events == "referral-updated"
    error_message = "Other events are registered than asked, or not at this apply."
  }
  assert {
    condition = { for name in ["oldest-hint", "attention", "cursor-age", "refresh-token-age", "refused-posts"] : name => aws_cloudwatch_metric_alarm.this[name].threshold } == {
      oldest-hint       = 1800
      attention         = 4
      cursor-age        = 3600
      refresh-token-age = 2592000
      refused-posts     = 100
    }
    error_message = "An alarm rings at another threshold than asked."
  }
}

run "logs_are_kept_as_long_as_asked_and_encrypted" {
  variables {
    log_retention_days = 30
  }
  assert {
    condition = alltrue([
      for log in [module.webhook.log, module.sync.log, module.registration.log] :
      log.retention_days == 30 && log.kms_key_arn == aws_kms_key.this[0].arn
    ])
    error_message = "A function's log is kept for another time, or not encrypted."
  }
  assert {
    condition     = toset([module.webhook.log.name, module.sync.log.name, module.registration.log.name, aws_cloudwatch_log_group.access[0].name]) == toset(output.log_groups)
    error_message = "The key's policy does not know exactly the groups that there are."
  }
  assert {
    condition     = aws_cloudwatch_log_group.access[0].retention_in_days == 30 && aws_cloudwatch_log_group.access[0].kms_key_id == aws_kms_key.this[0].arn
    error_message = "The access log is kept for another time, or not encrypted."
  }
}

run "functions_get_their_settings_and_no_secret" {
  assert {
    condition = module.webhook.settings == tomap({
      CERTIFICATE_HOSTS  = "3psostorageacct.blob.core.windows.net"
      ISSUER_HOSTS       = "www.microsoft.com,caissuers.microsoft.com,cacerts.digicert.com"
      LOG_LEVEL          = "info"
      METRICS_NAMESPACE  = "CosellConnector/cosell-staging"
      QUEUE_URL          = "https://sqs.eu-west-1.amazonaws.com/111122223333/cosell-staging-hints.fifo"
      TRUST_ANCHORS_FILE = ""
    })
    error_message = "The settings of webhook are others."
  }
  assert {
    condition = module.sync.settings == tomap({
      AUDIT_TABLE           = "cosell-staging-audit"
      CLOSE_DELAY_SECONDS   = "300"
      DATAVERSE_RATE        = "10"
      DATAVERSE_SECRET      = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-dataverse-1-AbCdEf"
      DATAVERSE_TENANT_ID   = "11111111-2222-3333-4444-555555555555"
      DATAVERSE_URL         = "https://contoso.crm4.dynamics.com"
      DISPLAY_CHECKMARK     = "true"
      DRY_RUN               = "false"
      ENTRA_URL             = "https://login.microsoftonline.com"
      LINKS_TABLE           = "cosell-staging-links"
      LOG_LEVEL             = "info"
      MAPPING_FILE          = "mapping.toml"
      METRICS_NAMESPACE     = "CosellConnector/cosell-staging"
      PARTNER_CENTER_RATE   = "5"
      PARTNER_CENTER_SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-partner-center-1-AbCdEf"
      PARTNER_CENTER_URL    = "https://api.partner.microsoft.com"
      PARTNER_TENANT_ID     = "11111111-2222-3333-4444-555555555555"
      PAUSED                = "none"
      QUEUE_URL             = "https://sqs.eu-west-1.amazonaws.com/111122223333/cosell-staging-hints.fifo"
      SETTLE_SECONDS        = "600"
      SYNC_COSELL_ONLY      = "true"
      WAITS_PERCENT         = "100"
      WORKERS               = "5"
    })
    error_message = "The settings of sync are others."
  }
  assert {
    condition = module.registration.settings == tomap({
      ENTRA_URL                   = "https://login.microsoftonline.com"
      LOG_LEVEL                   = "info"
      METRICS_NAMESPACE           = "CosellConnector/cosell-staging"
      PARTNER_CENTER_SECRET       = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-partner-center-1-AbCdEf"
      PARTNER_CENTER_WEBHOOKS_URL = "https://api.partnercenter.microsoft.com"
      PARTNER_TENANT_ID           = "11111111-2222-3333-4444-555555555555"
      WEBHOOK_EVENTS              = "referral-created,referral-updated,related-referral-created,related-referral-updated,test-created"
      # The mark ends in the first eight digits of sha256("111122223333:eu-west-1").
      WEBHOOK_URL = "https://api1234567.execute-api.eu-west-1.amazonaws.com/webhook?owner=cosell-staging-${substr(sha256("111122223333:eu-west-1"), 0, 8)}"
    })
    error_message = "The settings of registration are others."
  }
}

run "hints_keep_their_order_and_poison_is_set_aside" {
  variables {
    sync_timeout_seconds = 200
    workers              = 7
  }
  assert {
    condition     = aws_sqs_queue.hints.fifo_queue && aws_sqs_queue.dead_letters.fifo_queue && endswith(aws_sqs_queue.hints.name, ".fifo")
    error_message = "Hints and their dead letters are FIFO."
  }
  assert {
    condition     = aws_sqs_queue.hints.visibility_timeout_seconds >= 6 * module.sync.limits.timeout_seconds
    error_message = "A message comes back while its batch may still be tried."
  }
  assert {
    condition = (
      jsondecode(aws_sqs_queue.hints.redrive_policy) == { deadLetterTargetArn = aws_sqs_queue.dead_letters.arn, maxReceiveCount = 5 }
      && jsondecode(aws_sqs_queue_redrive_allow_policy.dead_letters.redrive_allow_policy) == { redrivePermission = "byQueue", sourceQueueArns = [aws_sqs_queue.hints.arn] }
    )
    error_message = "What fails five times goes to the dead letters, which take from this queue alone."
  }
  assert {
    condition = alltrue([
      for queue in [aws_sqs_queue.hints, aws_sqs_queue.dead_letters, aws_sqs_queue.missed_runs] :
      queue.kms_master_key_id == aws_kms_key.this[0].arn && queue.message_retention_seconds == 1209600
    ])
    error_message = "Queues are encrypted with our key and keep messages for 14 days."
  }
  assert {
    condition = (
      aws_lambda_event_source_mapping.hints.event_source_arn == aws_sqs_queue.hints.arn
      && aws_lambda_event_source_mapping.hints.function_name == module.sync.arn
      && aws_lambda_event_source_mapping.hints.function_response_types == toset(["ReportBatchItemFailures"])
      && aws_lambda_event_source_mapping.hints.scaling_config[0].maximum_concurrency == 7
      && aws_lambda_event_source_mapping.hints.batch_size == 10
      && aws_lambda_event_source_mapping.hints.enabled != false
    )
    error_message = "sync takes hints, answers for each one, and works on no more at a time than it has workers."
  }
  assert {
    condition     = module.sync.limits.concurrency > 7 && module.sync.settings.WORKERS == "7"
    error_message = "The trigger could find its workers throttled, or the budgets be divided by another number."
  }
}

run "a_rehearsal_gives_up_sooner" {
  variables {
    max_receives = 1
  }
  assert {
    condition     = jsondecode(aws_sqs_queue.hints.redrive_policy).maxReceiveCount == 1
    error_message = "A hint is tried more often than asked."
  }
}

run "the_tables_are_those_that_the_code_is_tested_with" {
  assert {
    condition = alltrue([
      for pair in [
        { table = aws_dynamodb_table.links, shape = jsondecode(file("../shared/connector/tests/fixtures/dynamodb/links-table.json")) },
        { table = aws_dynamodb_table.audit, shape = jsondecode(file("../shared/connector/tests/fixtures/dynamodb/audit-table.json")) },
      ] :
      pair.table.billing_mode == pair.shape.BillingMode
      && pair.table.hash_key == [for key in pair.shape.KeySchema : key.AttributeName if key.KeyType == "HASH"][0]
      && pair.table.range_key == [for key in pair.shape.KeySchema : key.AttributeName if key.KeyType == "RANGE"][0]
      && toset([for a in pair.table.attribute : "${a.name} ${a.type}"]) == toset([for a in pair.shape.AttributeDefinitions : "${a.AttributeName} ${a.AttributeType}"])
      && toset([
        for index in pair.table.global_secondary_index :
        join(" ", [index.name, index.hash_key, index.range_key, index.projection_type, jsonencode(sort(coalesce(index.non_key_attributes, toset([]))))])
        ]) == toset([
        for index in pair.shape.GlobalSecondaryIndexes :
        join(" ", [index.IndexName, index.KeySchema[0].AttributeName, index.KeySchema[1].AttributeName, index.Projection.ProjectionType, jsonencode(sort(try(index.Projection.NonKeyAttributes, [])))])
      ])
    ])
    error_message = "A table has another shape than the one the code's own tests use."
  }
  assert {
    condition = alltrue([
      for table in [aws_dynamodb_table.links, aws_dynamodb_table.audit] :
      table.point_in_time_recovery[0].enabled
      && table.server_side_encryption[0].enabled && table.server_side_encryption[0].kms_key_arn == aws_kms_key.this[0].arn
      && !table.deletion_protection_enabled
    ])
    error_message = "Tables can be restored, are encrypted with our key, and outside production can be deleted."
  }
  assert {
    condition     = aws_dynamodb_table.audit.ttl[0].enabled && aws_dynamodb_table.audit.ttl[0].attribute_name == "expires" && length(aws_dynamodb_table.links.ttl) == 0
    error_message = "Audit records end at `expires`; links never do."
  }
  assert {
    condition     = aws_kms_key.this[0].enable_key_rotation && aws_kms_alias.this[0].target_key_id == aws_kms_key.this[0].key_id
    error_message = "The key rotates, and the alias leads to it."
  }
}

run "production_is_protected_from_deletion" {
  state_key = "production_is_protected_from_deletion"

  variables {
    environment = "production"
  }
  assert {
    condition     = aws_dynamodb_table.links.deletion_protection_enabled && aws_dynamodb_table.audit.deletion_protection_enabled
    error_message = "Production's tables can be deleted."
  }
  assert {
    condition     = output.is_protected
    error_message = "`infra/run destroy` would not be told that the tables are protected."
  }
}

run "protection_is_lifted_only_by_saying_so" {
  state_key = "protection_is_lifted_only_by_saying_so"

  variables {
    environment         = "production"
    deletion_protection = false
  }
  assert {
    condition     = !aws_dynamodb_table.links.deletion_protection_enabled && !aws_dynamodb_table.audit.deletion_protection_enabled
    error_message = "Production could never be removed."
  }
  assert {
    condition     = !output.is_protected
    error_message = "`infra/run destroy` would be told that the tables are still protected."
  }
}

run "secrets_are_empty_and_encrypted" {
  variables {
    secret_recovery_days = 7
  }
  assert {
    condition = alltrue([
      for secret in [aws_secretsmanager_secret.partner_center, aws_secretsmanager_secret.dataverse] :
      secret.kms_key_id == aws_kms_key.this[0].arn && secret.recovery_window_in_days == 7
    ])
    error_message = "Secrets are encrypted with our key and can be brought back for as long as asked."
  }
}

run "schedules_wait_for_the_credentials" {
  assert {
    condition     = alltrue([for schedule in aws_scheduler_schedule.this : schedule.state == "DISABLED"]) && !output.has_credentials
    error_message = "A schedule runs although there is no credential."
  }
  assert {
    condition     = output.registration.done.outcome == "awaiting_consent" && aws_lambda_invocation.registration.triggers.has_consent == "false"
    error_message = "The apply ends with the registration, which says what it waits for."
  }
  assert {
    condition = (
      aws_lambda_invocation.registration.function_name == "cosell-staging-registration"
      && jsondecode(aws_lambda_invocation.registration.input) == { action = "register" }
    )
    error_message = "The apply asks for something else than a registration."
  }
  assert {
    condition = aws_lambda_invocation.registration.triggers == tomap({
      code        = module.registration.code_hash
      events      = module.registration.settings.WEBHOOK_EVENTS
      has_consent = "false"
      tenant      = module.registration.settings.PARTNER_TENANT_ID
      url         = module.registration.settings.WEBHOOK_URL
    })
    error_message = "Something that decides what is registered may change without a new registration."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["cursor-age"].treat_missing_data == "notBreaching"
    error_message = "The first apply would ring the alarm about polls that are not meant to run."
  }
}

run "one_credential_is_not_enough" {
  override_data {
    target = data.aws_secretsmanager_secret_versions.partner_center
    values = { versions = [{ version_id = "1", version_stages = ["AWSCURRENT"], created_time = "2026-01-01T00:00:00Z", last_accessed_date = "" }] }
  }
  assert {
    condition     = alltrue([for schedule in aws_scheduler_schedule.this : schedule.state == "DISABLED"])
    error_message = "A schedule runs although sync has only one of its credentials."
  }
  assert {
    condition     = aws_lambda_invocation.registration.triggers.has_consent == "true"
    error_message = "The consent does not lead to a registration."
  }
}

run "a_version_that_is_not_in_force_is_no_credential" {
  override_data {
    target = data.aws_secretsmanager_secret_versions.partner_center
    values = { versions = [{ version_id = "1", version_stages = ["COSELL_CANDIDATE"], created_time = "2026-01-01T00:00:00Z", last_accessed_date = "" }] }
  }
  override_data {
    target = data.aws_secretsmanager_secret_versions.dataverse
    values = { versions = [{ version_id = "1", version_stages = ["AWSCURRENT"], created_time = "2026-01-01T00:00:00Z", last_accessed_date = "" }] }
  }
  assert {
    condition     = alltrue([for schedule in aws_scheduler_schedule.this : schedule.state == "DISABLED"])
    error_message = "A schedule runs on a credential that is not in force."
  }
}

run "with_both_credentials_the_runs_start" {
  override_data {
    target = data.aws_secretsmanager_secret_versions.partner_center
    values = { versions = [{ version_id = "1", version_stages = ["AWSCURRENT"], created_time = "2026-01-01T00:00:00Z", last_accessed_date = "" }] }
  }
  override_data {
    target = data.aws_secretsmanager_secret_versions.dataverse
    values = { versions = [{ version_id = "1", version_stages = ["AWSCURRENT"], created_time = "2026-01-01T00:00:00Z", last_accessed_date = "" }] }
  }
  assert {
    condition = { for key, schedule in aws_scheduler_schedule.this : key => "${schedule.state} ${schedule.name} ${schedule.schedule_expression} ${schedule.target[0].input} ${schedule.target[0].arn}" } == {
      poll-dynamics       = "ENABLED poll-dynamics rate(1 minute) {\"run\":\"poll-dynamics\"} arn:aws:lambda:eu-west-1:111122223333:function:cosell-staging-sync"
      poll-partner-center = "ENABLED poll-partner-center rate(5 minutes) {\"run\":\"poll-partner-center\"} arn:aws:lambda:eu-west-1:111122223333:function:cosell-staging-sync"
      compare             = "ENABLED compare cron(17 2 * * ? *) {\"run\":\"compare\"} arn:aws:lambda:eu-west-1:111122223333:function:cosell-staging-sync"
      inspect             = "ENABLED inspect cron(47 5 * * ? *) {\"action\":\"inspect\"} arn:aws:lambda:eu-west-1:111122223333:function:cosell-staging-registration"
    }
    error_message = "A run has another state, name, rate, input or target."
  }
  assert {
    condition = alltrue([
      for schedule in aws_scheduler_schedule.this :
      schedule.flexible_time_window[0].mode == "OFF"
      && schedule.target[0].dead_letter_config[0].arn == aws_sqs_queue.missed_runs.arn
      && schedule.target[0].role_arn == aws_iam_role.schedules.arn
      && schedule.group_name == aws_scheduler_schedule_group.this.name
    ])
    error_message = "Runs are on time, with the rights of the schedules and in their group, and what was missed is kept."
  }
  assert {
    condition = { for key, schedule in aws_scheduler_schedule.this : key => "${schedule.target[0].retry_policy[0].maximum_retry_attempts} retries within ${schedule.target[0].retry_policy[0].maximum_event_age_in_seconds} s" } == {
      poll-dynamics       = "0 retries within 60 s"
      poll-partner-center = "1 retries within 120 s"
      compare             = "10 retries within 3600 s"
      inspect             = "10 retries within 3600 s"
    }
    error_message = "Polls pile up, or a daily run is given up although its next one is a day away."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["cursor-age"].treat_missing_data == "breaching"
    error_message = "Polls that do not run at all would go unnoticed."
  }
}

run "names_and_rates_are_the_customers" {
  variables {
    schedules = {
      poll_dynamics = { rate = "rate(10 minutes)" }
      compare       = { name = "nightly", rate = "cron(0 1 * * ? *)" }
    }
  }
  assert {
    condition = (
      aws_scheduler_schedule.this["poll-dynamics"].schedule_expression == "rate(10 minutes)"
      && aws_scheduler_schedule.this["compare"].name == "nightly"
      && aws_scheduler_schedule.this["compare"].schedule_expression == "cron(0 1 * * ? *)"
      && aws_scheduler_schedule.this["poll-partner-center"].schedule_expression == "rate(5 minutes)"
    )
    error_message = "Names and rates are not as asked."
  }
  assert {
    # Two runs of ten minutes; two of five.
    condition = (
      aws_cloudwatch_metric_alarm.this["cursor-age"].period == 1200
      && aws_cloudwatch_metric_alarm.this["fatal-sync"].period == 1200
      && aws_cloudwatch_metric_alarm.this["attention"].period == 600
    )
    error_message = "An alarm on what a poll reports would ring, or end, between two polls."
  }
}

run "there_is_one_route" {
  assert {
    condition     = aws_apigatewayv2_route.webhook[0].route_key == "POST /webhook" && length(aws_apigatewayv2_route.webhook) == 1
    error_message = "The API answers something else."
  }
  assert {
    condition     = aws_apigatewayv2_integration.webhook[0].payload_format_version == "2.0" && strcontains(aws_apigatewayv2_integration.webhook[0].integration_uri, "cosell-staging-webhook")
    error_message = "The route does not lead to the webhook, or in another format."
  }
  assert {
    condition = (
      aws_apigatewayv2_api.this[0].protocol_type == "HTTP" && length(aws_apigatewayv2_api.this[0].cors_configuration) == 0
      && aws_apigatewayv2_integration.webhook[0].integration_type == "AWS_PROXY"
      && aws_apigatewayv2_route.webhook[0].target == "integrations/${aws_apigatewayv2_integration.webhook[0].id}"
      && aws_apigatewayv2_stage.this[0].name == "$default" && aws_apigatewayv2_stage.this[0].auto_deploy
      && length(toset([for part in [aws_apigatewayv2_integration.webhook, aws_apigatewayv2_route.webhook, aws_apigatewayv2_stage.this] : part[0].api_id])) == 1
    )
    error_message = "The route is not deployed, leads nowhere, or may be called by pages of others."
  }
  assert {
    condition = (
      aws_apigatewayv2_stage.this[0].default_route_settings[0].throttling_burst_limit == 50
      && aws_apigatewayv2_stage.this[0].default_route_settings[0].throttling_rate_limit == 25
      && aws_apigatewayv2_stage.this[0].access_log_settings[0].destination_arn == aws_cloudwatch_log_group.access[0].arn
    )
    error_message = "The API is not throttled, or keeps no access log."
  }
  assert {
    condition = jsondecode(aws_apigatewayv2_stage.this[0].access_log_settings[0].format) == {
      at        = "$context.requestTime"
      bytes     = "$context.responseLength"
      error     = "$context.error.message"
      ip        = "$context.identity.sourceIp"
      latency   = "$context.responseLatency"
      method    = "$context.httpMethod"
      path      = "$context.path"
      request   = "$context.requestId"
      status    = "$context.status"
      userAgent = "$context.identity.userAgent"
    }
    error_message = "The access log holds more, or less, than who asked for what, with which result."
  }
}

run "a_custom_domain_is_registered_with_the_owner_mark" {
  variables {
    webhook_url = "https://cosell.example.com/hooks/{api}/webhook"
  }
  assert {
    condition     = output.webhook_url == "https://cosell.example.com/hooks/api1234567/webhook?owner=cosell-staging-${substr(sha256("111122223333:eu-west-1"), 0, 8)}"
    error_message = "The address registered is not the customer's, or bears no mark."
  }
  assert {
    condition     = module.registration.settings.WEBHOOK_URL == output.webhook_url && aws_lambda_invocation.registration.triggers.url == output.webhook_url
    error_message = "Another address is registered than is shown."
  }
}

run "a_function_url_is_registered_with_the_owner_mark" {
  variables {
    front_door = "function-url"
  }
  assert {
    condition     = output.webhook_url == "https://url1234567.lambda-url.eu-west-1.on.aws/webhook?owner=cosell-staging-${substr(sha256("111122223333:eu-west-1"), 0, 8)}"
    error_message = "The address registered is not the function's, or bears no mark."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["webhook-5xx"].namespace == "AWS/Lambda" && aws_cloudwatch_metric_alarm.this["webhook-5xx"].metric_name == "Url5xxCount"
    error_message = "Errors of the function URL would go unnoticed."
  }
  assert {
    condition     = !contains(output.log_groups, "/aws/vendedlogs/cosell-staging-access")
    error_message = "There is no API and thus no access log."
  }
}

run "a_direction_is_paused_and_nothing_else_changes" {
  variables {
    paused = "toward_partner_center"
  }
  assert {
    condition     = module.sync.settings.PAUSED == "toward_partner_center" && output.paused == "toward_partner_center"
    error_message = "sync is not told what is paused."
  }
  assert {
    condition     = aws_lambda_invocation.registration.input == jsonencode({ action = "register" }) && aws_cloudwatch_metric_alarm.this["registration-drift"].actions_enabled
    error_message = "Who pauses a direction still wants events."
  }
}

run "a_dry_run_registers_nothing" {
  variables {
    dry_run = true
  }
  assert {
    condition     = module.sync.settings.DRY_RUN == "true"
    error_message = "sync is not told that it must not write."
  }
  assert {
    condition     = aws_lambda_invocation.registration.input == jsonencode({ action = "inspect" })
    error_message = "A dry run takes the webhook's registration."
  }
  assert {
    condition     = [for name, alarm in aws_cloudwatch_metric_alarm.this : name if !alarm.actions_enabled] == ["registration-drift"]
    error_message = "A dry run rings for the registration that it does not want, or is silent about something else."
  }
}

run "alarms_cover_what_needs_a_person" {
  variables {
    notification_mail = "crm-team@example.com"
  }
  assert {
    condition = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => "${alarm.namespace} ${alarm.metric_name} ${jsonencode(alarm.dimensions)} ${alarm.statistic} > ${alarm.threshold}" } == {
      attention              = "CosellConnector/cosell-staging DealsNeedingAttention {\"function\":\"sync\"} Maximum > 0"
      cursor-age             = "CosellConnector/cosell-staging DynamicsCursorAgeSeconds {\"function\":\"sync\"} Maximum > 900"
      dead-letters           = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"cosell-staging-dead-letters.fifo\"} Maximum > 0"
      fatal-registration     = "CosellConnector/cosell-staging FatalFaults {\"function\":\"registration\"} Sum > 0"
      fatal-sync             = "CosellConnector/cosell-staging FatalFaults {\"function\":\"sync\"} Sum > 0"
      missed-runs            = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"cosell-staging-missed-runs\"} Maximum > 0"
      oldest-hint            = "AWS/SQS ApproximateAgeOfOldestMessage {\"QueueName\":\"cosell-staging-hints.fifo\"} Maximum > 900"
      refresh-token-age      = "CosellConnector/cosell-staging RefreshTokenAgeSeconds {\"function\":\"registration\"} Maximum > 5184000"
      refused-posts          = "CosellConnector/cosell-staging PostsRefused {\"function\":\"webhook\"} Sum > 20"
      registration-drift     = "CosellConnector/cosell-staging RegistrationsDrifted {\"function\":\"registration\"} Maximum > 0"
      registration-errors    = "AWS/Lambda Errors {\"FunctionName\":\"cosell-staging-registration\"} Sum > 0"
      registration-throttles = "AWS/Lambda Throttles {\"FunctionName\":\"cosell-staging-registration\"} Sum > 0"
      schedule-errors        = "AWS/Scheduler TargetErrorCount {\"ScheduleGroup\":\"cosell-staging\"} Sum > 0"
      sync-errors            = "AWS/Lambda Errors {\"FunctionName\":\"cosell-staging-sync\"} Sum > 0"
      sync-throttles         = "AWS/Lambda Throttles {\"FunctionName\":\"cosell-staging-sync\"} Sum > 0"
      webhook-5xx            = "AWS/ApiGateway 5xx {\"ApiId\":\"api1234567\"} Sum > 0"
      webhook-errors         = "AWS/Lambda Errors {\"FunctionName\":\"cosell-staging-webhook\"} Sum > 0"
      webhook-throttles      = "AWS/Lambda Throttles {\"FunctionName\":\"cosell-staging-webhook\"} Sum > 0"
    }
    error_message = "An alarm is missing, new, or about something else."
  }
  assert {
    condition = alltrue([
      for alarm in aws_cloudwatch_metric_alarm.this :
      alarm.comparison_operator == "GreaterThanThreshold"
      && alarm.alarm_actions == toset([aws_sns_topic.alarms.arn]) && alarm.ok_actions == toset([aws_sns_topic.alarms.arn])
      && length(alarm.alarm_description) > 20 && alarm.actions_enabled != false
    ])
    error_message = "Each alarm reaches the topic, when it begins and when it is over, and says what to do."
  }
  assert {
    condition = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => "${alarm.datapoints_to_alarm} of ${alarm.evaluation_periods} in ${alarm.period} s, ${alarm.treat_missing_data}" } == {
      attention              = "1 of 1 in 600 s, ignore"
      cursor-age             = "1 of 1 in 300 s, notBreaching"
      dead-letters           = "1 of 1 in 300 s, notBreaching"
      fatal-registration     = "1 of 1 in 300 s, ignore"
      fatal-sync             = "1 of 1 in 300 s, notBreaching"
      missed-runs            = "1 of 1 in 300 s, notBreaching"
      oldest-hint            = "1 of 1 in 300 s, notBreaching"
      refresh-token-age      = "1 of 1 in 300 s, ignore"
      refused-posts          = "1 of 1 in 300 s, notBreaching"
      registration-drift     = "1 of 1 in 300 s, ignore"
      registration-errors    = "1 of 1 in 300 s, notBreaching"
      registration-throttles = "1 of 1 in 300 s, notBreaching"
      schedule-errors        = "1 of 1 in 300 s, notBreaching"
      sync-errors            = "2 of 3 in 300 s, notBreaching"
      sync-throttles         = "2 of 3 in 300 s, notBreaching"
      webhook-5xx            = "2 of 3 in 300 s, notBreaching"
      webhook-errors         = "2 of 3 in 300 s, notBreaching"
      webhook-throttles      = "2 of 3 in 300 s, notBreaching"
    }
    error_message = "An alarm rings later or sooner, or takes the absence of figures for something else."
  }
  assert {
    condition     = aws_sns_topic_subscription.mail[0].protocol == "email" && aws_sns_topic_subscription.mail[0].endpoint == "crm-team@example.com" && aws_sns_topic.alarms.kms_master_key_id == aws_kms_key.this[0].arn
    error_message = "The mail address does not hear of alarms, or the topic is not encrypted."
  }
}

run "no_mail_is_sent_unasked" {
  assert {
    condition     = length(aws_sns_topic_subscription.mail) == 0
    error_message = "Somebody was subscribed without being named."
  }
}

run "the_dashboard_shows_the_health_of_the_sync" {
  assert {
    condition = {
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.properties.title => [
        for line in widget.properties.metrics : join(" ", [line[0], line[1], line[3], try(line[4].stat, widget.properties.stat)])
      ] if widget.type == "metric"
      } == {
      "Lag from a change to the other side (ms)" = [
        "CosellConnector/cosell-staging LagMilliseconds sync p50",
        "CosellConnector/cosell-staging LagMilliseconds sync p99",
      ]
      "Changes per direction" = [
        "CosellConnector/cosell-staging WritesTowardDynamics sync Sum",
        "CosellConnector/cosell-staging WritesTowardPartnerCenter sync Sum",
        "CosellConnector/cosell-staging Echoes sync Sum",
      ]
      "Waiting deals" = [
        "CosellConnector/cosell-staging DealsNeedingAttention sync Maximum",
        "CosellConnector/cosell-staging DealsOverdue sync Maximum",
        "CosellConnector/cosell-staging DealsDue sync Sum",
      ]
      "Conflicts and drift" = [
        "CosellConnector/cosell-staging ValuesOverruled sync Sum",
        "CosellConnector/cosell-staging DealsDrifted sync Sum",
        "CosellConnector/cosell-staging DealsParked sync Sum",
      ]
      "Vendor calls by status" = [
        "CosellConnector/cosell-staging VendorCalls sync Sum",
        "CosellConnector/cosell-staging VendorRefusals sync Sum",
        "CosellConnector/cosell-staging VendorFailures sync Sum",
        "CosellConnector/cosell-staging VendorThrottles sync Sum",
      ]
      "Fatal faults" = [
        "CosellConnector/cosell-staging FatalFaults sync Sum",
        "CosellConnector/cosell-staging FatalFaults registration Sum",
      ]
      "Posts of Partner Center" = [
        "CosellConnector/cosell-staging HintsQueued webhook Sum",
        "CosellConnector/cosell-staging EventsIgnored webhook Sum",
        "CosellConnector/cosell-staging EventsTest webhook Sum",
        "CosellConnector/cosell-staging PostsRefused webhook Sum",
        "CosellConnector/cosell-staging HintsRefused webhook Sum",
      ]
      "Queue" = [
        "AWS/SQS ApproximateAgeOfOldestMessage cosell-staging-hints.fifo Maximum",
        "AWS/SQS ApproximateNumberOfMessagesVisible cosell-staging-hints.fifo Maximum",
        "AWS/SQS ApproximateNumberOfMessagesVisible cosell-staging-dead-letters.fifo Maximum",
        "AWS/SQS ApproximateNumberOfMessagesVisible cosell-staging-missed-runs Maximum",
      ]
      "How far the poll of Dynamics is behind (s)" = [
        "CosellConnector/cosell-staging DynamicsCursorAgeSeconds sync Maximum",
      ]
      "Errors and throttles of the functions" = [
        "AWS/Lambda Errors cosell-staging-registration Sum",
        "AWS/Lambda Throttles cosell-staging-registration Sum",
        "AWS/Lambda Errors cosell-staging-sync Sum",
        "AWS/Lambda Throttles cosell-staging-sync Sum",
        "AWS/Lambda Errors cosell-staging-webhook Sum",
        "AWS/Lambda Throttles cosell-staging-webhook Sum",
      ]
      "Duration of the functions, p99 (ms)" = [
        "AWS/Lambda Duration cosell-staging-webhook p99",
        "AWS/Lambda Duration cosell-staging-sync p99",
      ]
      "Registration and refresh token, last inspection" = [
        "CosellConnector/cosell-staging RegistrationsDrifted registration Maximum",
        "CosellConnector/cosell-staging RefreshTokenAgeSeconds registration Maximum",
      ]
    }
    error_message = "A graph is missing, new, or about something else."
  }
  assert {
    condition = (
      length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets) == 13
      && length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets[0].properties.alarms) == length(aws_cloudwatch_metric_alarm.this)
      && alltrue([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.properties.region == "eu-west-1" if widget.type == "metric"])
    )
    error_message = "There are twelve graphs of our region below a row of all alarms."
  }
}

run "every_name_bears_prefix_and_environment" {
  state_key = "every_name_bears_prefix_and_environment"

  variables {
    prefix = "acme-cosell"
  }
  assert {
    condition     = aws_ssm_parameter.owner.name == "/acme-cosell/staging/owner" && aws_ssm_parameter.owner.overwrite == null
    error_message = "The environment is taken under another name, or taken from others."
  }
  assert {
    condition = alltrue([
      for name in [aws_sqs_queue.hints.name, aws_dynamodb_table.links.name, module.sync.name, aws_scheduler_schedule_group.this.name, aws_iam_role.schedules.name, aws_cloudwatch_dashboard.this.dashboard_name] :
      startswith(name, "acme-cosell-staging")
    ])
    error_message = "Something could meet another deployment's."
  }
  assert {
    condition     = aws_iam_role.schedules.name == "acme-cosell-staging-eu-west-1-schedules" && endswith(aws_cloudwatch_dashboard.this.dashboard_name, "-eu-west-1")
    error_message = "What has no region could meet the same environment in another one."
  }
}

run "the_admins_command_is_told_everything" {
  assert {
    condition = output.operator == {
      AUDIT_TABLE                 = "cosell-staging-audit"
      AWS_REGION                  = "eu-west-1"
      DATAVERSE_SECRET            = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-dataverse-1-AbCdEf"
      DATAVERSE_TENANT_ID         = "11111111-2222-3333-4444-555555555555"
      DATAVERSE_URL               = "https://contoso.crm4.dynamics.com"
      DISPLAY_CHECKMARK           = "true"
      DRY_RUN                     = "false"
      ENTRA_URL                   = "https://login.microsoftonline.com"
      ENVIRONMENT                 = "staging"
      LINKS_TABLE                 = "cosell-staging-links"
      MAPPING_FILE                = "shared/cosell/mapping.toml"
      PARTNER_CENTER_SECRET       = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-partner-center-1-AbCdEf"
      PARTNER_CENTER_URL          = "https://api.partner.microsoft.com"
      PARTNER_CENTER_WEBHOOKS_URL = "https://api.partnercenter.microsoft.com"
      PARTNER_TENANT_ID           = "11111111-2222-3333-4444-555555555555"
      QUEUE_URL                   = "https://sqs.eu-west-1.amazonaws.com/111122223333/cosell-staging-hints.fifo"
      REGISTRATION_FUNCTION       = "cosell-staging-registration"
      SYNC_COSELL_ONLY            = "true"
      SYNC_FUNCTION               = "cosell-staging-sync"
      WEBHOOK_EVENTS              = "referral-created,referral-updated,related-referral-created,related-referral-updated,test-created"
      WEBHOOK_FUNCTION            = "cosell-staging-webhook"
      WEBHOOK_URL                 = output.webhook_url
    }
    error_message = "The output `operator` has other entries, or leads the admin's command elsewhere."
  }
  assert {
    condition = (
      output.queues == { hints = "cosell-staging-hints.fifo", dead_letters = "cosell-staging-dead-letters.fifo", missed_runs = "cosell-staging-missed-runs" }
      && output.functions == { webhook = "cosell-staging-webhook", sync = "cosell-staging-sync", registration = "cosell-staging-registration" }
      && output.tables == { links = "cosell-staging-links", audit = "cosell-staging-audit" }
      && output.queue_url == aws_sqs_queue.hints.url && output.dead_letters_url == aws_sqs_queue.dead_letters.url
      && output.missed_runs_url == aws_sqs_queue.missed_runs.url && output.alarm_topic_arn == aws_sns_topic.alarms.arn
    )
    error_message = "An output names something else."
  }
}
