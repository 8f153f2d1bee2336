# What is refused before anything is created: each mistake stops `plan` at the variable it is in. A run makes one mistake in
# each of many variables, and every one of them has to be refused; the comment says what is wrong.

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

run "first_mistakes" {
  command = plan

  variables {
    environment                 = "Staging"                                          # Environment with capitals.
    prefix                      = "cosell-"                                          # Prefix that ends in a hyphen.
    region                      = "europe-1"                                         # Region that does not exist.
    account_id                  = "11112222333"                                      # Account of eleven digits.
    partner_tenant_id           = "contoso.onmicrosoft.com"                          # Tenant that is a domain.
    dataverse_tenant_id         = "contoso.com"                                      # Dataverse tenant that is a domain.
    dataverse_url               = "http://contoso.crm4.dynamics.com"                 # Dataverse over plain http.
    entra_url                   = "http://login.microsoftonline.com"                 # Entra over plain http.
    partner_center_url          = "http://api.partner.microsoft.com"                 # Partner center over plain http.
    partner_center_webhooks_url = "http://api.partnercenter.microsoft.com"           # Webhooks api over plain http.
    webhook_url                 = "http://cosell.example.com/webhook"                # Webhook over plain http.
    webhook_events              = []                                                 # No event at all.
    certificate_hosts           = ["https://3psostorageacct.blob.core.windows.net"]  # Certificate host with a scheme.
    issuer_hosts                = ["www.microsoft.com/pkiops"]                       # Issuer host with a path.
    webhook_burst               = 0                                                  # Burst of nothing.
    webhook_rate                = 0                                                  # Webhook rate of nothing.
    paused                      = "both"                                             # Pause of no direction.
    mapping                     = "shared/cosell/mapping.tmol"                       # Mapping that is not there.
    max_receives                = 0                                                  # No receive at all.
    close_delay_seconds         = -1                                                 # Closed before it was closed.
    settle_seconds              = 0                                                  # No time to settle.
    waits_percent               = 101                                                # Waits longer than the built in ones.
    dataverse_rate              = 0                                                  # Dataverse rate of nothing.
    partner_center_rate         = -1                                                 # Partner center rate below nothing.
    workers                     = 1                                                  # One worker.
    schedules                   = { poll_dynamics = { rate = "cron(0 * * * ? *)" } } # Poll by cron.
    architecture                = "aarch64"                                          # Architecture in rusts words.
    log_level                   = "INFO"                                             # Log level in capitals.
    webhook_concurrency         = 0                                                  # No concurrency for the webhook.
    log_retention_days          = 0                                                  # Logs kept for ever.
    secret_recovery_days        = 3                                                  # Secret recovery of three days.
    notification_mail           = "crm-team"                                         # Mail without a host.
    alarm_thresholds            = { refused_posts = -1 }                             # Threshold below nothing.
  }
  expect_failures = [
    var.environment,
    var.prefix,
    var.region,
    var.account_id,
    var.partner_tenant_id,
    var.dataverse_tenant_id,
    var.dataverse_url,
    var.entra_url,
    var.partner_center_url,
    var.partner_center_webhooks_url,
    var.webhook_url,
    var.webhook_events,
    var.certificate_hosts,
    var.issuer_hosts,
    var.webhook_burst,
    var.webhook_rate,
    var.paused,
    var.mapping,
    var.max_receives,
    var.close_delay_seconds,
    var.settle_seconds,
    var.waits_percent,
    var.dataverse_rate,
    var.partner_center_rate,
    var.workers,
    var.schedules,
    var.architecture,
    var.log_level,
    var.webhook_concurrency,
    var.log_retention_days,
    var.secret_recovery_days,
    var.notification_mail,
    var.alarm_thresholds,
  ]
}

run "second_mistakes" {
  command = plan

  variables {
    environment                 = "staging-2"                                        # Environment with a hyphen.
    prefix                      = "cosell-connector1"                                # Prefix that is too long.
    region                      = "cn-north-1"                                       # Region in china.
    partner_tenant_id           = "common"                                           # Tenant that is common.
    dataverse_url               = "https://contoso.crm4.dynamics.com/main.aspx"      # Dataverse with a path.
    entra_url                   = "https://login.microsoftonline.com/common"         # Entra with a path.
    partner_center_url          = "https://api.partner.microsoft.com/v1.0"           # Partner center with a path.
    partner_center_webhooks_url = "https://api.partnercenter.microsoft.com/webhooks" # Webhooks api with a path.
    webhook_url                 = "https://cosell.example.com/hook"                  # Webhook that ends elsewhere.
    webhook_events              = ["referral created"]                               # Event with a blank.
    certificate_hosts           = []                                                 # No certificate host at all.
    webhook_burst               = 1.5                                                # Burst of half a post.
    max_receives                = 1001                                               # More receives than sqs takes.
    waits_percent               = 0                                                  # No waits.
    workers                     = 1001                                               # Workers beyond a trigger.
    schedules                   = { poll_dynamics = { rate = "rate(0 minutes)" } }   # Poll every zero minutes.
    sync_timeout_seconds        = 901                                                # Run longer than lambda allows.
    log_retention_days          = 10                                                 # Logs kept for a period that cloudwatch has not.
    notification_mail           = "a@example.com, b@example.com"                     # Two mails.
    alarm_thresholds            = { refresh_token_age_days = 89 }                    # Token alarm when it is too late.
  }
  expect_failures = [
    var.environment,
    var.prefix,
    var.region,
    var.partner_tenant_id,
    var.dataverse_url,
    var.entra_url,
    var.partner_center_url,
    var.partner_center_webhooks_url,
    var.webhook_url,
    var.webhook_events,
    var.certificate_hosts,
    var.webhook_burst,
    var.max_receives,
    var.waits_percent,
    var.workers,
    var.schedules,
    var.sync_timeout_seconds,
    var.log_retention_days,
    var.notification_mail,
    var.alarm_thresholds,
  ]
}

run "third_mistakes" {
  command = plan

  variables {
    sync_timeout_seconds = 10                                                      # Run too short to record anything.
    environment          = "an17letterslong77"                                     # Environment that is too long.
    region               = "us-gov-west-1"                                         # Region of govcloud.
    partner_tenant_id    = "{11111111-2222-3333-4444-555555555555}"                # Tenant in braces.
    dataverse_url        = "https://contoso.crm4.dynamics.com/"                    # Dataverse with a slash.
    webhook_url          = "https://cosell.example.com/webhook?owner=me"           # Webhook with a query.
    max_receives         = 2.5                                                     # Half a receive.
    schedules            = { poll_partner_center = { rate = "rate(90 minutes)" } } # Poll that is rarer than an hour.
  }
  expect_failures = [
    var.sync_timeout_seconds,
    var.environment,
    var.region,
    var.partner_tenant_id,
    var.dataverse_url,
    var.webhook_url,
    var.max_receives,
    var.schedules,
  ]
}

run "fourth_mistakes" {
  command = plan

  variables {
    # Not with a mistake in webhook_url, which is judged by what this is.
    sync_timeout_seconds = 30.5                                    # Half a second.
    front_door           = "load-balancer"                         # Front door that does not exist.
    region               = "eu-west-1a"                            # Region that is a zone.
    partner_tenant_id    = "11111111-2222-3333-4444-55555555555"   # Tenant with a digit too few.
    dataverse_url        = "https://contoso.crm4.dynamics.com:444" # Dataverse with a port.
    schedules            = { compare = { rate = "daily" } }        # Comparison without a rate.
  }
  expect_failures = [
    var.sync_timeout_seconds,
    var.front_door,
    var.region,
    var.partner_tenant_id,
    var.dataverse_url,
    var.schedules,
  ]
}

run "fifth_mistakes" {
  command = plan

  variables {
    dataverse_url = "https://me:secret@contoso.crm4.dynamics.com"                  # Dataverse with credentials.
    schedules     = { compare = { name = "daily" }, inspect = { name = "daily" } } # Two schedules of one name.
    kms_key_arn   = "arn:aws:kms:eu-west-1:111122223333:alias/ours"                # Key that is an alias.
  }
  expect_failures = [
    var.dataverse_url,
    var.kms_key_arn,
    var.schedules,
  ]
}

run "sixth_mistakes" {
  command = plan

  variables {
    dataverse_url = "https://contoso.crm4.dynamics.com.example.com" # Dataverse that is not microsofts.
    schedules     = { compare = { name = "every night" } }          # Schedule with a blank in its name.
  }
  expect_failures = [
    var.dataverse_url,
    var.schedules,
  ]
}

run "a_key_of_another_region_and_a_schedule_of_five_fields" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd"
    schedules   = { compare = { rate = "cron(17 2 * * *)" } }
  }
  expect_failures = [
    var.kms_key_arn,
    var.schedules,
  ]
}

run "seventh_mistakes" {
  command = plan

  variables {
    issuer_hosts         = []                             # No issuer host at all.
    webhook_burst        = 5001                           # Burst beyond the throttle of an API.
    webhook_rate         = 10001                          # Webhook rate beyond the account's quota.
    close_delay_seconds  = 0.5                            # Half a second of grace.
    settle_seconds       = 86401                          # More than a day to settle.
    waits_percent        = 50.5                           # Half a percent.
    dataverse_rate       = 10001                          # Dataverse rate that is no limit.
    partner_center_rate  = 1.5                            # Half a request.
    workers              = 2.5                            # Half a worker.
    log_level            = "info,"                        # Log level with a comma too many.
    webhook_concurrency  = 1001                           # More of the account's concurrency than it has.
    secret_recovery_days = 31                             # Longer than secrets manager keeps a secret.
    alarm_thresholds     = { refresh_token_age_days = 0 } # Token alarm that always rings.
  }
  expect_failures = [
    var.issuer_hosts,
    var.webhook_burst,
    var.webhook_rate,
    var.close_delay_seconds,
    var.settle_seconds,
    var.waits_percent,
    var.dataverse_rate,
    var.partner_center_rate,
    var.workers,
    var.log_level,
    var.webhook_concurrency,
    var.secret_recovery_days,
    var.alarm_thresholds,
  ]
}

run "a_run_that_outlasts_the_search_for_what_it_created" {
  command = plan

  variables {
    settle_seconds       = 600
    sync_timeout_seconds = 301
  }
  expect_failures = [
    var.sync_timeout_seconds,
  ]
}

run "webhook_of_an_api_that_is_not_there" {
  command = plan

  variables {
    front_door  = "function-url"
    webhook_url = "https://cosell.example.com/{api}/webhook"
  }
  expect_failures = [
    var.webhook_url,
  ]
}

run "what_a_rehearsal_sets_is_accepted" {
  command = plan

  variables {
    dataverse_url               = "http://127.0.0.1:4001"
    entra_url                   = "http://localhost:4002"
    partner_center_url          = "http://[::1]:4003"
    partner_center_webhooks_url = "http://127.0.0.1:4003"
    webhook_url                 = "http://127.0.0.1:4566/_aws/execute-api/{api}/$default/webhook"
    certificate_hosts           = ["127.0.0.1:4004"]
    max_receives                = 1
    settle_seconds              = 1
    waits_percent               = 1
    dataverse_rate              = 1000
    sync_timeout_seconds        = 30
    secret_recovery_days        = 0
  }
  assert {
    condition     = module.sync.settings.DATAVERSE_URL == "http://127.0.0.1:4001"
    error_message = "This machine may be reached without TLS."
  }
}

run "addresses_that_are_right_are_accepted" {
  command = plan

  variables {
    region              = "ap-southeast-2"
    account_id          = "111122223333"
    dataverse_tenant_id = "AAAAAAAA-bbbb-CCCC-dddd-0123456789ab"
    dataverse_url       = "https://contoso.api.crm11.dynamics.com"
    webhook_url         = "https://cosell.example.com:8443/webhook"
    notification_mail   = "crm.team+alarms@mail.example.co.uk"
    kms_key_arn         = "arn:aws:kms:ap-southeast-2:111122223333:key/mrk-1234abcd"
  }
  assert {
    condition     = module.sync.settings.DATAVERSE_TENANT_ID == "AAAAAAAA-bbbb-CCCC-dddd-0123456789ab"
    error_message = "Dynamics may be in another tenant."
  }
}
