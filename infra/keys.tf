# One customer-managed key for everything that rests: queues, tables, secrets, logs, notifications, functions' settings.

locals {
  key_arn = var.kms_key_arn == null ? one(aws_kms_key.this[*].arn) : var.kms_key_arn

  # Names of all log groups, which the key's policy has to know before they exist.
  log_groups = concat(
    [for function in ["webhook", "sync", "registration"] : "/aws/lambda/${local.name}-${function}"],
    var.front_door == "http-api" ? [local.access_log] : [],
  )
}

resource "aws_kms_key" "this" {
  count = var.kms_key_arn == null ? 1 : 0

  description = "What ${local.name} keeps: queues, tables, secrets, logs, notifications"
  # Default: never. A new key every year; what was encrypted before stays readable.
  enable_key_rotation = true
  policy              = local.key_policy
}

resource "aws_kms_alias" "this" {
  count = var.kms_key_arn == null ? 1 : 0

  name          = "alias/${local.name}"
  target_key_id = one(aws_kms_key.this[*].key_id)
}

locals {
  # In a key's policy the resource "*" means this key and nothing else; there is no other way to write it, since the key has
  # no ARN yet.
  key_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # Hands the decision to IAM policies of the account, as AWS's own default policy does, but action by action: a
        # key without this statement can be administered by nobody, ever.
        Sid       = "AccountDecides"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action = [
          "kms:CancelKeyDeletion",
          "kms:CreateAlias",
          "kms:CreateGrant",
          "kms:Decrypt",
          "kms:DeleteAlias",
          "kms:DescribeKey",
          "kms:DisableKey",
          "kms:DisableKeyRotation",
          "kms:EnableKey",
          "kms:EnableKeyRotation",
          "kms:Encrypt",
          "kms:GenerateDataKey",
          "kms:GenerateDataKeyWithoutPlaintext",
          "kms:GetKeyPolicy",
          "kms:GetKeyRotationStatus",
          "kms:ListGrants",
          "kms:ListKeyPolicies",
          "kms:ListKeyRotations",
          "kms:ListResourceTags",
          "kms:PutKeyPolicy",
          "kms:ReEncryptFrom",
          "kms:ReEncryptTo",
          "kms:RetireGrant",
          "kms:RevokeGrant",
          "kms:RotateKeyOnDemand",
          "kms:ScheduleKeyDeletion",
          "kms:TagResource",
          "kms:UntagResource",
          "kms:UpdateAlias",
          "kms:UpdateKeyDescription",
        ]
        Resource = "*"
      },
      {
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
        Sid       = "LogsEncrypt"
        Effect    = "Allow"
        Principal = { Service = "logs.${var.region}.amazonaws.com" }
        Action = [
          "kms:Decrypt",
          "kms:DescribeKey",
          "kms:Encrypt",
          "kms:GenerateDataKey",
          "kms:GenerateDataKeyWithoutPlaintext",
          "kms:ReEncryptFrom",
          "kms:ReEncryptTo",
        ]
        Resource = "*"
        Condition = {
          ArnEquals = {
            "kms:EncryptionContext:aws:logs:arn" = [
              for group in local.log_groups : "arn:${local.partition}:logs:${var.region}:${local.account}:log-group:${group}"
            ]
          }
        }
      },
      {
        # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
        Sid       = "AlarmsReachTheTopic"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
    ]
  })
}
