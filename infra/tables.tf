# The ledger: one table of links, one of audit records. Their shapes are those that the code's own tests run against,
# shared/connector/tests/fixtures/dynamodb.

locals {
  is_protected = coalesce(var.deletion_protection, var.environment == "production")
}

resource "aws_dynamodb_table" "links" {
  name         = "${local.name}-links"
  billing_mode = "PAY_PER_REQUEST" # Default: provisioned. Deals come in bursts.
  hash_key     = "pk"
  range_key    = "sk"

  # Default: off. Without the links every deal would be compared and matched anew.
  deletion_protection_enabled = local.is_protected

  attribute {
    name = "pk"
    type = "S"
  }
  attribute {
    name = "sk"
    type = "S"
  }
  attribute {
    name = "due_shard"
    type = "S"
  }
  attribute {
    name = "due_at"
    type = "S"
  }
  attribute {
    name = "attention_shard"
    type = "S"
  }
  attribute {
    name = "attention_since"
    type = "S"
  }

  # Sparse: an item is in an index only while it has the index's attributes.
  global_secondary_index {
    name               = "due"
    hash_key           = "due_shard"
    range_key          = "due_at"
    projection_type    = "INCLUDE"
    non_key_attributes = ["referral", "opportunity", "microsoft"]
  }
  global_secondary_index {
    name               = "attention"
    hash_key           = "attention_shard"
    range_key          = "attention_since"
    projection_type    = "INCLUDE"
    non_key_attributes = ["referral", "opportunity", "microsoft"]
  }

  # Default: off. Any second of the last 35 days can be restored.
  point_in_time_recovery {
    enabled = true
  }

  # Default: a key of DynamoDB's.
  server_side_encryption {
    enabled     = true
    kms_key_arn = local.key_arn
  }
}

resource "aws_dynamodb_table" "audit" {
  name         = "${local.name}-audit"
  billing_mode = "PAY_PER_REQUEST" # Default: provisioned. It is written with the links.
  hash_key     = "pk"
  range_key    = "sk"

  # Default: off. It is the customer's proof of what was done.
  deletion_protection_enabled = local.is_protected

  attribute {
    name = "pk"
    type = "S"
  }
  attribute {
    name = "sk"
    type = "S"
  }
  attribute {
    name = "day"
    type = "S"
  }
  attribute {
    name = "at"
    type = "S"
  }

  global_secondary_index {
    name            = "day"
    hash_key        = "day"
    range_key       = "at"
    projection_type = "ALL"
  }

  # Default: kept for ever. The code writes when a record may go (400 days).
  ttl {
    enabled        = true
    attribute_name = "expires"
  }

  # Default: off. Any second of the last 35 days can be restored.
  point_in_time_recovery {
    enabled = true
  }

  # Default: a key of DynamoDB's.
  server_side_encryption {
    enabled     = true
    kms_key_arn = local.key_arn
  }
}
