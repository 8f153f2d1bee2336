# Everything that may differ between two deployments. The first four have no default; examples are in environments/.
# A condition that does not hold stops `plan`, before anything is created, and says what would be right.

# --- Which deployment

variable "environment" {
  description = "Name of the environment, such as staging or production. It is part of every name, and `production` protects the tables from deletion."
  type        = string
  nullable    = false

  validation {
    # No hyphen: else cosell-a + b and cosell + a-b would be the same names.
    condition     = can(regex("^[a-z][a-z0-9]{1,15}$", var.environment))
    error_message = "environment must be 2 to 16 lower-case letters and digits and begin with a letter, such as \"staging\"."
  }
}

variable "prefix" {
  description = "First part of every name. Change it only where two connectors share an account and an environment's name."
  type        = string
  default     = "cosell"
  nullable    = false

  validation {
    # The longest name made of it is a role's, of which IAM takes 64 characters.
    condition     = can(regex("^[a-z]([a-z0-9-]{0,14}[a-z0-9])?$", var.prefix))
    error_message = "prefix must be 1 to 16 lower-case letters, digits and inner hyphens, such as \"cosell\"."
  }
}

variable "region" {
  description = "AWS region of everything, such as eu-west-1."
  type        = string
  nullable    = false

  validation {
    # Partner Center offers co-sell in Microsoft's commercial cloud only; AWS's China and GovCloud partitions have other ARNs.
    condition     = can(regex("^(af|ap|ca|eu|il|me|mx|sa|us)-(north|south|east|west|central|northeast|northwest|southeast|southwest)-[1-9]$", var.region))
    error_message = "region must be the code of a commercial AWS region, such as \"eu-west-1\"; China and GovCloud are not supported."
  }
}

variable "account_id" {
  description = "The AWS account that credentials must belong to; null accepts any. Set it in production: a wrong profile is then refused before anything happens."
  type        = string
  default     = null

  validation {
    condition     = var.account_id == null || can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be the 12 digits of an AWS account, in quotes."
  }
}

variable "tags" {
  description = "Further tags for every resource."
  type        = map(string)
  default     = {}
  nullable    = false
}

# --- Microsoft's side

variable "partner_tenant_id" {
  description = "Entra tenant (GUID) of the Partner Center account."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$", var.partner_tenant_id))
    error_message = "partner_tenant_id must be the tenant's GUID; domain names and \"common\" are not accepted. Entra shows it under Overview as Tenant ID."
  }
}

variable "dataverse_tenant_id" {
  description = "Entra tenant (GUID) of Dynamics 365; null means the same as partner_tenant_id, as with most partners."
  type        = string
  default     = null

  validation {
    condition     = var.dataverse_tenant_id == null || can(regex("^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$", var.dataverse_tenant_id))
    error_message = "dataverse_tenant_id must be the tenant's GUID; domain names and \"common\" are not accepted."
  }
}

variable "dataverse_url" {
  description = "Root of the Dynamics 365 environment, such as https://ORG.crm.dynamics.com."
  type        = string
  nullable    = false

  validation {
    # A token for the CRM is sent there, so the host has to be Microsoft's; `sync` refuses others too.
    condition     = can(regex("^(https://[a-z0-9-]+(\\.api)?\\.crm[0-9]{0,3}\\.dynamics\\.com|https?://(localhost|127\\.0\\.0\\.1|\\[::1\\])(:[0-9]+)?)$", var.dataverse_url))
    error_message = "dataverse_url must be scheme and host of a Dynamics 365 environment alone, such as \"https://contoso.crm4.dynamics.com\": no path, no port, no slash at the end."
  }
}

variable "entra_url" {
  description = "Where tokens come from. The default is the commercial cloud; others are for rehearsals."
  type        = string
  default     = "https://login.microsoftonline.com"
  nullable    = false

  validation {
    condition     = can(regex("^(https://[a-z0-9.-]+|https?://(localhost|127\\.0\\.0\\.1|\\[::1\\]))(:[0-9]+)?$", var.entra_url))
    error_message = "entra_url must be scheme and host alone, without path or slash at the end; https, or http to this machine for rehearsals."
  }
}

variable "partner_center_url" {
  description = "Host of the Referrals API. Others than the default are for rehearsals."
  type        = string
  default     = "https://api.partner.microsoft.com"
  nullable    = false

  validation {
    condition     = can(regex("^(https://[a-z0-9.-]+|https?://(localhost|127\\.0\\.0\\.1|\\[::1\\]))(:[0-9]+)?$", var.partner_center_url))
    error_message = "partner_center_url must be scheme and host alone, without path or slash at the end; https, or http to this machine for rehearsals."
  }
}

variable "partner_center_webhooks_url" {
  description = "Host of the webhook registration API. Others than the default are for rehearsals."
  type        = string
  default     = "https://api.partnercenter.microsoft.com"
  nullable    = false

  validation {
    condition     = can(regex("^(https://[a-z0-9.-]+|https?://(localhost|127\\.0\\.0\\.1|\\[::1\\]))(:[0-9]+)?$", var.partner_center_webhooks_url))
    error_message = "partner_center_webhooks_url must be scheme and host alone, without path or slash at the end; https, or http to this machine for rehearsals."
  }
}

# --- The front door

variable "front_door" {
  description = "What receives Microsoft's posts: http-api (throttled, with an access log) or function-url (nothing but the function, whose reserved concurrency is then the only throttle)."
  type        = string
  default     = "http-api"
  nullable    = false

  validation {
    condition     = contains(["http-api", "function-url"], var.front_door)
    error_message = "front_door must be \"http-api\" or \"function-url\"."
  }
}

variable "webhook_url" {
  description = "Address that is registered at Partner Center instead of the one AWS made, for a custom domain. It must end in /webhook; `{api}` in it stands for the id of the HTTP API."
  type        = string
  default     = null

  validation {
    # The owner mark becomes its query, so it brings none.
    condition     = var.webhook_url == null || can(regex("^(https://[a-z0-9.-]+|https?://(localhost|127\\.0\\.0\\.1|\\[::1\\]))(:[0-9]+)?(/[A-Za-z0-9._~{}$-]+)*/webhook$", var.webhook_url))
    error_message = "webhook_url must be an https address that ends in /webhook, without query, such as \"https://cosell.example.com/webhook\"; http to this machine for rehearsals."
  }
  validation {
    condition     = var.webhook_url == null || var.front_door == "http-api" || !strcontains(coalesce(var.webhook_url, "-"), "{api}")
    error_message = "webhook_url may contain {api} only with front_door = \"http-api\": a function URL has no API."
  }
}

variable "webhook_events" {
  description = "Events that Partner Center shall deliver. test-created is what proves a registration."
  type        = list(string)
  default     = ["referral-created", "referral-updated", "related-referral-created", "related-referral-updated", "test-created"]
  nullable    = false

  validation {
    condition     = length(var.webhook_events) > 0 && alltrue([for name in var.webhook_events : can(regex("^[A-Za-z0-9-]+$", name))])
    error_message = "webhook_events must be a list of event names of letters, digits and hyphens, such as [\"referral-created\"]."
  }
}

variable "certificate_hosts" {
  description = "Hosts that the certificate of a signed post may be fetched from, each with an optional port. The default is the only one that Microsoft has published."
  type        = list(string)
  default     = ["3psostorageacct.blob.core.windows.net"]
  nullable    = false

  validation {
    condition     = length(var.certificate_hosts) > 0 && alltrue([for host in var.certificate_hosts : can(regex("^([a-z0-9.-]+|\\[::1\\])(:[0-9]+)?$", host))])
    error_message = "certificate_hosts must be host names with an optional port, without scheme and path."
  }
}

variable "issuer_hosts" {
  description = "Hosts that missing issuer certificates may be fetched from: those that Microsoft's certificates name."
  type        = list(string)
  default     = ["www.microsoft.com", "caissuers.microsoft.com", "cacerts.digicert.com"]
  nullable    = false

  validation {
    condition     = length(var.issuer_hosts) > 0 && alltrue([for host in var.issuer_hosts : can(regex("^([a-z0-9.-]+|\\[::1\\])(:[0-9]+)?$", host))])
    error_message = "issuer_hosts must be host names with an optional port, without scheme and path."
  }
}

variable "trust_anchors_file" {
  description = "Path, inside the function, of a PEM file whose roots replace the built-in web roots; empty keeps those. For rehearsals, or a partner's own pinning."
  type        = string
  default     = ""
  nullable    = false
}

variable "webhook_burst" {
  description = "Posts that the HTTP API takes at once before it answers 429. Partner Center posts once per change and delivers again after a refusal."
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.webhook_burst >= 1 && var.webhook_burst <= 5000 && floor(var.webhook_burst) == var.webhook_burst
    error_message = "webhook_burst must be a whole number from 1 to 5000."
  }
}

variable "webhook_rate" {
  description = "Posts a second that the HTTP API takes for longer."
  type        = number
  default     = 25
  nullable    = false

  validation {
    condition     = var.webhook_rate >= 1 && var.webhook_rate <= 10000
    error_message = "webhook_rate must be from 1 to 10000 posts a second."
  }
}

# --- What the sync does

variable "paused" {
  description = "Direction in which nothing is written: none, toward_dynamics or toward_partner_center. Deals wait and are written when it is taken back."
  type        = string
  default     = "none"
  nullable    = false

  validation {
    condition     = contains(["none", "toward_dynamics", "toward_partner_center"], var.paused)
    error_message = "paused must be \"none\", \"toward_dynamics\" or \"toward_partner_center\"."
  }
}

variable "dry_run" {
  description = "Reads, plans and audits, but writes to neither vendor and registers no webhook: for the first days beside a CRM that is in use, or beside another connector."
  type        = bool
  default     = false
  nullable    = false
}

variable "sync_cosell_only" {
  description = "Leads and other referrals that are not co-sell stay out. If false, they wait for their answer as leads in the CRM."
  type        = bool
  default     = true
  nullable    = false
}

variable "display_checkmark" {
  description = "A mark before an opportunity's name shows whether it is in step."
  type        = bool
  default     = true
  nullable    = false
}

variable "mapping" {
  description = "Mapping file of this environment, from the root of the repository. `make build MAPPING=...` packs it; deploying another than the one that is packed is refused."
  type        = string
  default     = "shared/cosell/mapping.toml"
  nullable    = false

  validation {
    condition     = fileexists(startswith(var.mapping, "/") ? var.mapping : "${path.root}/../${var.mapping}")
    error_message = "mapping must name a file, such as \"my-mapping.toml\" in the root of the repository; shared/cosell/mapping.toml is the one to begin with."
  }
}

variable "max_receives" {
  description = "How often a hint is tried before it goes to the dead letters. Only crashes and malformed hints use it up; fewer than the default is for rehearsals."
  type        = number
  default     = 5
  nullable    = false

  validation {
    # The bounds are SQS's.
    condition     = var.max_receives >= 1 && var.max_receives <= 1000 && floor(var.max_receives) == var.max_receives
    error_message = "max_receives must be a whole number from 1 to 1000."
  }
}

variable "close_delay_seconds" {
  description = "How long a deal that a seller closed waits before it is closed in Partner Center, where that is final; reopening it in between takes it back. 0 closes at once."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.close_delay_seconds >= 0 && var.close_delay_seconds <= 86400 && floor(var.close_delay_seconds) == var.close_delay_seconds
    error_message = "close_delay_seconds must be a whole number from 0 to 86400."
  }
}

variable "settle_seconds" {
  description = "Seconds that a doubtful creation at Partner Center waits before its result is searched for. Less than the default only in rehearsals: the vendor's lists lag."
  type        = number
  default     = 600
  nullable    = false

  validation {
    condition     = var.settle_seconds >= 1 && var.settle_seconds <= 86400 && floor(var.settle_seconds) == var.settle_seconds
    error_message = "settle_seconds must be a whole number from 1 to 86400."
  }
}

variable "waits_percent" {
  description = "Waits between two looks at a deal, in percent of the built-in ones. Less than 100 only in rehearsals."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.waits_percent >= 1 && var.waits_percent <= 100 && floor(var.waits_percent) == var.waits_percent
    error_message = "waits_percent must be a whole number from 1 to 100."
  }
}

variable "dataverse_rate" {
  description = "Requests a second to Dynamics 365, all workers together. It allows 20 a second per user; half leaves room for other flows of the same application."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.dataverse_rate >= 1 && var.dataverse_rate <= 10000 && floor(var.dataverse_rate) == var.dataverse_rate
    error_message = "dataverse_rate must be a whole number from 1 to 10000."
  }
}

variable "partner_center_rate" {
  description = "Requests a second to Partner Center, all workers together. The vendor publishes no limit for referrals."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.partner_center_rate >= 1 && var.partner_center_rate <= 10000 && floor(var.partner_center_rate) == var.partner_center_rate
    error_message = "partner_center_rate must be a whole number from 1 to 10000."
  }
}

variable "workers" {
  description = "Deals that are worked on at a time: the concurrency of the queue's trigger, among which the rates above are divided."
  type        = number
  default     = 5
  nullable    = false

  validation {
    # SQS triggers take no maximum below 2.
    condition     = var.workers >= 2 && var.workers <= 1000 && floor(var.workers) == var.workers
    error_message = "workers must be a whole number from 2 to 1000; AWS allows no trigger of a queue fewer than 2."
  }
}

variable "schedules" {
  description = "Names and rates of the runs: the two polls, the daily comparison of every link, the daily inspection of the webhook's registration. Polls take rate(N minutes) of at most an hour; the others any expression of EventBridge Scheduler, in UTC."
  type = object({
    poll_dynamics       = optional(object({ name = optional(string, "poll-dynamics"), rate = optional(string, "rate(1 minute)") }), {})
    poll_partner_center = optional(object({ name = optional(string, "poll-partner-center"), rate = optional(string, "rate(5 minutes)") }), {})
    compare             = optional(object({ name = optional(string, "compare"), rate = optional(string, "cron(17 2 * * ? *)") }), {})
    inspect             = optional(object({ name = optional(string, "inspect"), rate = optional(string, "cron(47 5 * * ? *)") }), {})
  })
  default  = {}
  nullable = false

  validation {
    # Alarms on what a poll reports count in its own intervals, so they have to be able to read them.
    condition = alltrue([
      for poll in [var.schedules.poll_dynamics, var.schedules.poll_partner_center] :
      can(regex("^rate\\((1 minute|([2-9]|[1-5][0-9]|60) minutes|1 hour)\\)$", poll.rate))
    ])
    error_message = "The rate of a poll must be rate(1 minute) to rate(60 minutes), such as \"rate(5 minutes)\"."
  }
  validation {
    condition = alltrue([
      for run in [var.schedules.compare, var.schedules.inspect] :
      can(regex("^(rate\\([1-9][0-9]* (minute|hour|day)s?\\)|cron\\(([^ ]+ ){5}[^ ]+\\))$", run.rate))
    ])
    error_message = "The rate of compare and inspect must be rate(...) or cron(...) with the six fields of EventBridge Scheduler, such as \"cron(17 2 * * ? *)\"."
  }
  validation {
    condition     = alltrue([for run in values(var.schedules) : can(regex("^[0-9A-Za-z_.-]{1,64}$", run.name))]) && length(distinct([for run in values(var.schedules) : run.name])) == 4
    error_message = "Names of schedules must differ and be 1 to 64 letters, digits, dots, hyphens and underscores."
  }
}

# --- How the functions run

variable "zip_folder" {
  description = "Folder with webhook.zip, sync.zip and registration.zip, relative to this module; `make build` fills the default."
  type        = string
  default     = "../target/lambda"
  nullable    = false
}

variable "architecture" {
  description = "Processor that the zips were built for: arm64 (a fifth cheaper) or x86_64."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be \"arm64\" or \"x86_64\", the same as in `make build ARCH=...`."
  }
}

variable "log_level" {
  description = "What is logged: a level (error, warn, info, debug, trace), or target=level pairs separated by commas."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z_:]+(=[a-z]+)?(,[a-z_:]+(=[a-z]+)?)*$", var.log_level))
    error_message = "log_level must be a level such as \"info\", or pairs such as \"info,connector=debug\"."
  }
}

variable "sync_timeout_seconds" {
  description = "Longest run of `sync`. A deal takes a second or two; a whole comparison, about 30,000 links in the default."
  type        = number
  default     = 120
  nullable    = false

  validation {
    # Below 30 s little is left beside what is kept back to record the work; Lambda ends at 900.
    condition     = var.sync_timeout_seconds >= 30 && var.sync_timeout_seconds <= 900 && floor(var.sync_timeout_seconds) == var.sync_timeout_seconds
    error_message = "sync_timeout_seconds must be a whole number from 30 to 900."
  }

  validation {
    # A search begins so long after the run that may have created something began; half of that is for the vendor's lists.
    # Rehearsals, which search sooner than the default, have lists that do not lag.
    condition     = var.settle_seconds < 600 || 2 * var.sync_timeout_seconds <= var.settle_seconds
    error_message = "sync_timeout_seconds may be at most half of settle_seconds: a run that lasts longer could create a second referral."
  }
}

variable "webhook_concurrency" {
  description = "Posts that are verified at a time; a flood of forged ones gets no more of the account's concurrency."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.webhook_concurrency >= 1 && var.webhook_concurrency <= 1000 && floor(var.webhook_concurrency) == var.webhook_concurrency
    error_message = "webhook_concurrency must be a whole number from 1 to 1000."
  }
}

variable "reserve_concurrency" {
  description = "Reserves concurrency for each function. New AWS accounts have a quota of 10, of which nothing can be reserved: set false there until AWS has raised it."
  type        = bool
  default     = true
  nullable    = false
}

# --- Keeping, protecting, telling

variable "log_retention_days" {
  description = "Days that logs are kept. The default is as long as the audit table keeps its records."
  type        = number
  default     = 400
  nullable    = false

  validation {
    # 0 would mean for ever, in CloudWatch's words.
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one of CloudWatch's periods: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "kms_key_arn" {
  description = "A customer-managed key to use instead of one of our own. Its policy must hold the statements of keys.tf for logs and alarms, and let IAM policies of this account use it."
  type        = string
  default     = null

  validation {
    # An alias could be pointed at another key later, and what was encrypted before would be lost.
    condition     = var.kms_key_arn == null || can(regex("^arn:aws:kms:${var.region}:[0-9]{12}:key/(mrk-)?[0-9a-f-]+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key in the deployment's region, such as \"arn:aws:kms:eu-west-1:111122223333:key/1234abcd-...\"; aliases are not accepted."
  }
}

variable "deletion_protection" {
  description = "Whether the tables refuse to be deleted. Null means: in production, and nowhere else. To remove production, set it to false, deploy, then destroy."
  type        = bool
  default     = null
}

variable "secret_recovery_days" {
  description = "Days in which a deleted secret can be brought back: 7 to 30, or 0 to delete at once."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.secret_recovery_days == 0 || (var.secret_recovery_days >= 7 && var.secret_recovery_days <= 30 && floor(var.secret_recovery_days) == var.secret_recovery_days)
    error_message = "secret_recovery_days must be 0, or a whole number from 7 to 30."
  }
}

variable "notification_mail" {
  description = "Mail address that alarms go to; null subscribes none. AWS sends a mail whose link has to be followed first."
  type        = string
  default     = null

  validation {
    condition     = var.notification_mail == null || can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.notification_mail))
    error_message = "notification_mail must be one mail address, such as \"crm-team@example.com\"."
  }
}

variable "alarm_thresholds" {
  description = "When alarms ring; alarms.tf says why each default is what it is."
  type = object({
    oldest_hint_seconds    = optional(number, 900)
    attention_deals        = optional(number, 0)
    cursor_age_seconds     = optional(number, 900)
    refresh_token_age_days = optional(number, 60)
    refused_posts          = optional(number, 20)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for threshold in values(var.alarm_thresholds) : threshold >= 0])
    error_message = "Thresholds of alarms must not be negative."
  }
  validation {
    # Microsoft ends a refresh token that was not used for 90 days.
    condition     = var.alarm_thresholds.refresh_token_age_days >= 1 && var.alarm_thresholds.refresh_token_age_days <= 85
    error_message = "alarm_thresholds.refresh_token_age_days must be from 1 to 85: at 90 days the token lapses, and someone has to have time to renew it."
  }
}
