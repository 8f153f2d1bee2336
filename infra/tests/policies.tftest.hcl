# Who may do what, action by action. Each policy is flattened to lines "sid effect action resource condition"; the set of
# lines must be exactly the one below, so that a right that is added, widened or lost fails here.

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

run "webhook_may_send_hints_and_nothing_else" {
  assert {
    condition = toset(flatten([
      for s in jsondecode(module.webhook.policy).Statement : [
        for a in s.Action : [for r in s.Resource : trimspace("${s.Sid} ${s.Effect} ${a} ${r} ${try(jsonencode(s.Condition), "")}")]
      ]
      ])) == toset([
      "WriteOwnLog Allow logs:CreateLogStream arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/cosell-staging-webhook:*",
      "WriteOwnLog Allow logs:PutLogEvents arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/cosell-staging-webhook:*",
      "SendHints Allow sqs:SendMessage arn:aws:sqs:eu-west-1:111122223333:cosell-staging-hints.fifo",
      "EncryptHints Allow kms:Decrypt arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001 {\"StringEquals\":{\"kms:ViaService\":[\"sqs.eu-west-1.amazonaws.com\"]}}",
      "EncryptHints Allow kms:GenerateDataKey arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001 {\"StringEquals\":{\"kms:ViaService\":[\"sqs.eu-west-1.amazonaws.com\"]}}",
    ])
    error_message = "The webhook's policy is not exactly what it shall be."
  }
}

run "sync_may_do_what_its_code_calls" {
  assert {
    condition = toset(flatten([
      for s in jsondecode(module.sync.policy).Statement : [
        for a in s.Action : [for r in s.Resource : trimspace("${s.Sid} ${s.Effect} ${a} ${r} ${try(jsonencode(s.Condition), "")}")]
      ]
      ])) == toset([
      "WriteOwnLog Allow logs:CreateLogStream arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/cosell-staging-sync:*",
      "WriteOwnLog Allow logs:PutLogEvents arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/cosell-staging-sync:*",
      "TakeHints Allow sqs:DeleteMessage arn:aws:sqs:eu-west-1:111122223333:cosell-staging-hints.fifo",
      "TakeHints Allow sqs:GetQueueAttributes arn:aws:sqs:eu-west-1:111122223333:cosell-staging-hints.fifo",
      "TakeHints Allow sqs:ReceiveMessage arn:aws:sqs:eu-west-1:111122223333:cosell-staging-hints.fifo",
      "SendHints Allow sqs:SendMessage arn:aws:sqs:eu-west-1:111122223333:cosell-staging-hints.fifo",
      "EncryptHints Allow kms:Decrypt arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001 {\"StringEquals\":{\"kms:ViaService\":[\"sqs.eu-west-1.amazonaws.com\"]}}",
      "EncryptHints Allow kms:GenerateDataKey arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001 {\"StringEquals\":{\"kms:ViaService\":[\"sqs.eu-west-1.amazonaws.com\"]}}",
      "ReadAndPutLinks Allow dynamodb:GetItem arn:aws:dynamodb:eu-west-1:111122223333:table/cosell-staging-links",
      "ReadAndPutLinks Allow dynamodb:PutItem arn:aws:dynamodb:eu-west-1:111122223333:table/cosell-staging-links",
      "ReadAndPutLinks Allow dynamodb:Scan arn:aws:dynamodb:eu-west-1:111122223333:table/cosell-staging-links",
      "ListLinks Allow dynamodb:Query arn:aws:dynamodb:eu-west-1:111122223333:table/cosell-staging-links",
      "ListLinks Allow dynamodb:Query arn:aws:dynamodb:eu-west-1:111122223333:table/cosell-staging-links/index/attention",
      "ListLinks Allow dynamodb:Query arn:aws:dynamodb:eu-west-1:111122223333:table/cosell-staging-links/index/due",
      "PutAuditRecords Allow dynamodb:PutItem arn:aws:dynamodb:eu-west-1:111122223333:table/cosell-staging-audit",
      "ListAuditRecords Allow dynamodb:Query arn:aws:dynamodb:eu-west-1:111122223333:table/cosell-staging-audit",
      "ListAuditRecords Allow dynamodb:Query arn:aws:dynamodb:eu-west-1:111122223333:table/cosell-staging-audit/index/day",
      "OpenTables Allow kms:Decrypt arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001 {\"StringEquals\":{\"kms:ViaService\":[\"dynamodb.eu-west-1.amazonaws.com\"]}}",
      "ReadCredentials Allow secretsmanager:GetSecretValue arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-dataverse-1-AbCdEf",
      "ReadCredentials Allow secretsmanager:GetSecretValue arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-partner-center-1-AbCdEf",
      "KeepRenewedToken Allow secretsmanager:PutSecretValue arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-partner-center-1-AbCdEf",
      "KeepRenewedToken Allow secretsmanager:UpdateSecretVersionStage arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-partner-center-1-AbCdEf",
      "OpenCredentials Allow kms:Decrypt arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001 {\"StringEquals\":{\"kms:ViaService\":[\"secretsmanager.eu-west-1.amazonaws.com\"]}}",
      "OpenCredentials Allow kms:GenerateDataKey arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001 {\"StringEquals\":{\"kms:ViaService\":[\"secretsmanager.eu-west-1.amazonaws.com\"]}}",
    ])
    error_message = "The policy of sync is not exactly what it shall be."
  }
}

run "registration_reads_and_renews_one_secret" {
  assert {
    condition = toset(flatten([
      for s in jsondecode(module.registration.policy).Statement : [
        for a in s.Action : [for r in s.Resource : trimspace("${s.Sid} ${s.Effect} ${a} ${r} ${try(jsonencode(s.Condition), "")}")]
      ]
      ])) == toset([
      "WriteOwnLog Allow logs:CreateLogStream arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/cosell-staging-registration:*",
      "WriteOwnLog Allow logs:PutLogEvents arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/cosell-staging-registration:*",
      "ReadCredential Allow secretsmanager:GetSecretValue arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-partner-center-1-AbCdEf",
      "KeepRenewedToken Allow secretsmanager:PutSecretValue arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-partner-center-1-AbCdEf",
      "KeepRenewedToken Allow secretsmanager:UpdateSecretVersionStage arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-partner-center-1-AbCdEf",
      "OpenCredential Allow kms:Decrypt arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001 {\"StringEquals\":{\"kms:ViaService\":[\"secretsmanager.eu-west-1.amazonaws.com\"]}}",
      "OpenCredential Allow kms:GenerateDataKey arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001 {\"StringEquals\":{\"kms:ViaService\":[\"secretsmanager.eu-west-1.amazonaws.com\"]}}",
    ])
    error_message = "The policy of registration is not exactly what it shall be."
  }
}

run "schedules_start_two_functions_and_keep_what_they_missed" {
  assert {
    condition = toset(flatten([
      for s in jsondecode(aws_iam_role_policy.schedules.policy).Statement : [
        for a in s.Action : [for r in s.Resource : trimspace("${s.Sid} ${s.Effect} ${a} ${r} ${try(jsonencode(s.Condition), "")}")]
      ]
      ])) == toset([
      "StartRuns Allow lambda:InvokeFunction arn:aws:lambda:eu-west-1:111122223333:function:cosell-staging-registration",
      "StartRuns Allow lambda:InvokeFunction arn:aws:lambda:eu-west-1:111122223333:function:cosell-staging-sync",
      "KeepMissedRuns Allow sqs:SendMessage arn:aws:sqs:eu-west-1:111122223333:cosell-staging-missed-runs",
      "EncryptMissedRuns Allow kms:Decrypt arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001 {\"StringEquals\":{\"kms:ViaService\":[\"sqs.eu-west-1.amazonaws.com\"]}}",
      "EncryptMissedRuns Allow kms:GenerateDataKey arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001 {\"StringEquals\":{\"kms:ViaService\":[\"sqs.eu-west-1.amazonaws.com\"]}}",
    ])
    error_message = "The policy of the schedules is not exactly what it shall be."
  }

  assert {
    condition = jsondecode(aws_iam_role.schedules.assume_role_policy).Statement == [{
      Sid       = "SchedulerActsAs"
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = {
        "aws:SourceAccount" = "111122223333"
        "aws:SourceArn"     = "arn:aws:scheduler:eu-west-1:111122223333:schedule-group/cosell-staging"
      } }
    }]
    error_message = "Only schedules of our own group may use the role."
  }

  assert {
    condition     = aws_iam_role_policy.schedules.role == aws_iam_role.schedules.id
    error_message = "What the schedules may do is said of another role."
  }
}

run "nobody_updates_or_deletes_audit_records" {
  assert {
    # Whoever touches the audit table: only puts and queries.
    condition = alltrue(flatten([
      for policy in [module.webhook.policy, module.sync.policy, module.registration.policy, aws_iam_role_policy.schedules.policy] : [
        for s in jsondecode(policy).Statement : [
          for r in s.Resource : [for a in s.Action : contains(["dynamodb:PutItem", "dynamodb:Query"], a)]
          if strcontains(r, "table/cosell-staging-audit")
        ]
      ]
    ]))
    error_message = "The audit table may be put to and queried, and nothing else."
  }
}

run "every_statement_has_a_sid_and_no_wildcard" {
  assert {
    condition = alltrue(flatten([
      for policy in [module.webhook.policy, module.sync.policy, module.registration.policy, aws_iam_role_policy.schedules.policy] : [
        for s in jsondecode(policy).Statement : [
          length(s.Sid) > 0,
          [for a in s.Action : !strcontains(a, "*")],
          # The streams of a function's own log group are the one exception.
          [for r in s.Resource : !strcontains(r, "*") || (s.Sid == "WriteOwnLog" && endswith(r, ":*"))],
        ]
      ]
    ]))
    error_message = "A statement has no sid, or a wildcard."
  }
}

run "only_lambda_acts_as_a_function" {
  assert {
    condition = alltrue([
      for trust in [module.webhook.trust, module.sync.trust, module.registration.trust] :
      jsondecode(trust).Statement == [{
        Sid       = "LambdaRunsAs"
        Effect    = "Allow"
        Principal = { Service = "lambda.amazonaws.com" }
        Action    = "sts:AssumeRole"
      }]
    ])
    error_message = "Somebody else may act as a function."
  }
}

run "rights_are_given_in_these_places_and_no_others" {
  command = plan

  assert {
    # A test sees what a resource says, but not that there is one more. So the pages are read: whatever gives rights is
    # listed here, and asserted above or below.
    condition = toset(flatten([
      for page in setunion(fileset(".", "*.tf"), fileset(".", "modules/**/*.tf")) : [
        for thing in regexall("(?m)^resource \"(aws_[a-z0-9_]*(?:iam|policy|permission|grant|access|cloudformation)[a-z0-9_]*)\" \"([a-z_]+)\"", file(page)) :
        "${page} ${thing[0]} ${thing[1]}"
      ]
      ])) == toset([
      "api.tf aws_cloudformation_stack function_url_permission",
      "api.tf aws_lambda_permission api",
      "api.tf aws_lambda_permission function_url",
      "modules/function/main.tf aws_iam_role this",
      "modules/function/main.tf aws_iam_role_policy this",
      "notifications.tf aws_sns_topic_policy alarms",
      "queue.tf aws_sqs_queue_policy tls_only",
      "queue.tf aws_sqs_queue_redrive_allow_policy dead_letters",
      "schedules.tf aws_iam_role schedules",
      "schedules.tf aws_iam_role_policy schedules",
    ]) && length(aws_sqs_queue_policy.tls_only) == 3
    error_message = "Something else gives rights."
  }
  assert {
    # A role says nothing but who may act as it.
    condition = length([
      for page in setunion(fileset(".", "*.tf"), fileset(".", "modules/**/*.tf")) : page
      if can(regex("managed_policy_arns|inline_policy|permissions_boundary", file(page)))
    ]) == 0 && aws_iam_role.schedules.name != ""
    error_message = "A role has rights beside its policy."
  }
}

run "resource_policies_name_who_may" {
  assert {
    condition     = jsondecode(aws_kms_key.this[0].policy).Statement[*].Sid == ["AccountDecides", "LogsEncrypt", "AlarmsReachTheTopic"]
    error_message = "The key's policy has another statement."
  }
  assert {
    condition = jsondecode(aws_kms_key.this[0].policy).Statement[0] == {
      Sid       = "AccountDecides"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::111122223333:root" }
      Action = [
        "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:CreateGrant", "kms:Decrypt", "kms:DeleteAlias", "kms:DescribeKey",
        "kms:DisableKey", "kms:DisableKeyRotation", "kms:EnableKey", "kms:EnableKeyRotation", "kms:Encrypt",
        "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus",
        "kms:ListGrants", "kms:ListKeyPolicies", "kms:ListKeyRotations", "kms:ListResourceTags", "kms:PutKeyPolicy",
        "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:RetireGrant", "kms:RevokeGrant", "kms:RotateKeyOnDemand",
        "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription",
      ]
      Resource = "*"
    }
    error_message = "The account is handed other rights on its key than those of AWS's default policy, one by one."
  }
  assert {
    condition = jsondecode(aws_kms_key.this[0].policy).Statement[1] == {
      Sid       = "LogsEncrypt"
      Effect    = "Allow"
      Principal = { Service = "logs.eu-west-1.amazonaws.com" }
      Action = [
        "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext",
        "kms:ReEncryptFrom", "kms:ReEncryptTo",
      ]
      Resource = "*"
      Condition = { ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = [
        "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/cosell-staging-webhook",
        "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/cosell-staging-sync",
        "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/cosell-staging-registration",
        "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/vendedlogs/cosell-staging-access",
      ] } }
    }
    error_message = "The key encrypts our four logs and no others."
  }
  assert {
    condition = jsondecode(aws_kms_key.this[0].policy).Statement[2] == {
      Sid       = "AlarmsReachTheTopic"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = "*"
      Condition = { StringEquals = { "aws:SourceAccount" = "111122223333" } }
    }
    error_message = "The key encrypts what alarms of this account send, and no others'."
  }
  assert {
    condition = { for name, policy in aws_sqs_queue_policy.tls_only : name => jsondecode(policy.policy).Statement } == {
      for name, queue in { hints = "hints.fifo", dead_letters = "dead-letters.fifo", missed_runs = "missed-runs" } : name => [{
        Sid       = "RefusePlainHttp"
        Effect    = "Deny"
        Principal = "*"
        Action = [
          "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:PurgeQueue",
          "sqs:ReceiveMessage", "sqs:SendMessage",
        ]
        Resource  = "arn:aws:sqs:eu-west-1:111122223333:cosell-staging-${queue}"
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }]
    }
    error_message = "Each queue refuses plain HTTP, and its policy allows nobody anything."
  }
  assert {
    condition = (
      { for name, policy in aws_sqs_queue_policy.tls_only : name => policy.queue_url } == { for name, queue in local.queues : name => queue.id }
      && aws_sns_topic_policy.alarms.arn == aws_sns_topic.alarms.arn
      && aws_sqs_queue_redrive_allow_policy.dead_letters.queue_url == aws_sqs_queue.dead_letters.id
    )
    error_message = "A policy is attached to something else than it is about."
  }
  assert {
    condition = jsondecode(aws_sns_topic_policy.alarms.policy).Statement == [
      {
        Sid       = "AlarmsPublish"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = "arn:aws:sns:eu-west-1:111122223333:cosell-staging-alarms"
        Condition = { StringEquals = { "aws:SourceAccount" = "111122223333" } }
      },
      {
        Sid       = "RefusePlainHttp"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = "arn:aws:sns:eu-west-1:111122223333:cosell-staging-alarms"
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
    error_message = "Only alarms of this account publish to the topic, over TLS."
  }
  assert {
    condition = (
      aws_lambda_permission.api[0].principal == "apigateway.amazonaws.com"
      && aws_lambda_permission.api[0].action == "lambda:InvokeFunction"
      && aws_lambda_permission.api[0].function_name == "cosell-staging-webhook"
      && aws_lambda_permission.api[0].source_arn == "arn:aws:execute-api:eu-west-1:111122223333:api1234567/$default/POST/webhook"
    )
    error_message = "Only the one route of our API may invoke the webhook."
  }
}

run "a_function_url_has_both_permissions" {
  variables {
    front_door = "function-url"
  }
  assert {
    condition = (
      aws_lambda_permission.function_url[0].action == "lambda:InvokeFunctionUrl"
      && aws_lambda_permission.function_url[0].principal == "*"
      && aws_lambda_permission.function_url[0].function_url_auth_type == "NONE"
      && aws_lambda_permission.function_url[0].function_name == "cosell-staging-webhook"
      && aws_lambda_function_url.webhook[0].function_name == "cosell-staging-webhook"
      && aws_lambda_function_url.webhook[0].authorization_type == "NONE"
      && length(aws_lambda_function_url.webhook[0].cors) == 0
    )
    error_message = "The URL may be invoked without credentials."
  }
  assert {
    condition = jsondecode(aws_cloudformation_stack.function_url_permission[0].template_body).Resources.Permission == {
      Type = "AWS::Lambda::Permission"
      Properties = {
        Action                = "lambda:InvokeFunction"
        FunctionName          = "cosell-staging-webhook"
        InvokedViaFunctionUrl = true
        Principal             = "*"
      }
    }
    error_message = "The function may be invoked by anybody only by way of its URL."
  }
  assert {
    condition     = length(aws_apigatewayv2_api.this) == 0 && length(aws_lambda_permission.api) == 0 && length(aws_cloudwatch_log_group.access) == 0
    error_message = "There is no API beside the function URL."
  }
}

run "a_key_of_the_customers_is_used_everywhere" {
  variables {
    kms_key_arn = "arn:aws:kms:eu-west-1:111122223333:key/99999999-0000-0000-0000-000000000009"
  }
  assert {
    condition     = length(aws_kms_key.this) == 0 && length(aws_kms_alias.this) == 0
    error_message = "No key of our own is made."
  }
  assert {
    condition = alltrue([
      for text in [module.webhook.policy, module.sync.policy, module.registration.policy, aws_iam_role_policy.schedules.policy] :
      !strcontains(text, "key/00000000") && strcontains(text, "key/99999999-0000-0000-0000-000000000009")
    ])
    error_message = "Every policy names the customer's key."
  }
  assert {
    condition = alltrue([
      for key in concat(
        [for queue in local.queues : queue.kms_master_key_id],
        [for table in [aws_dynamodb_table.links, aws_dynamodb_table.audit] : table.server_side_encryption[0].kms_key_arn],
        [for secret in [aws_secretsmanager_secret.partner_center, aws_secretsmanager_secret.dataverse] : secret.kms_key_id],
        [for log in [module.webhook.log, module.sync.log, module.registration.log] : log.kms_key_arn],
        [aws_cloudwatch_log_group.access[0].kms_key_id, aws_sns_topic.alarms.kms_master_key_id, output.kms_key_arn],
      ) :
      key == var.kms_key_arn
    ])
    error_message = "Everything is encrypted with the customer's key."
  }
}
