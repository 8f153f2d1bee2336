variable "name" {
  description = "Name of the function; its log group and its role are named after it."
  type        = string
  nullable    = false
}

variable "role_name" {
  description = "Name of the role, unique in the account rather than in the region."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.role_name) <= 64
    error_message = "IAM takes role names of at most 64 characters; choose a shorter prefix or environment."
  }
}

variable "description" {
  description = "What the function does, in one sentence."
  type        = string
  nullable    = false
}

variable "zip" {
  description = "Path of the zip with the program, which is called bootstrap."
  type        = string
  nullable    = false
}

variable "architecture" {
  description = "Processor that the program was built for: arm64 or x86_64."
  type        = string
  nullable    = false
}

variable "memory_mb" {
  description = "Memory, and with it the share of a processor: 1,769 MB are one."
  type        = number
  nullable    = false
}

variable "timeout_seconds" {
  description = "After how long an invocation is cut off."
  type        = number
  nullable    = false
}

variable "concurrency" {
  description = "Invocations at a time, reserved in the account; -1 reserves none and sets no limit."
  type        = number
  nullable    = false
}

variable "environment" {
  description = "Environment variables. No secret may be among them."
  type        = map(string)
  nullable    = false
}

variable "kms_key_arn" {
  description = "Key for the log and for the environment variables."
  type        = string
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that the log is kept."
  type        = number
  nullable    = false

  validation {
    condition     = var.log_retention_days > 0
    error_message = "A log that is kept for ever (0) is not wanted."
  }
}

variable "statements" {
  description = "What the function may do besides writing its own log: exact actions on exact resources, each with a sid."
  type = list(object({
    Sid       = string
    Effect    = optional(string, "Allow")
    Action    = list(string)
    Resource  = list(string)
    Condition = optional(map(map(list(string))))
  }))
  nullable = false

  validation {
    condition     = alltrue([for text in flatten([for s in var.statements : concat(s.Action, s.Resource)]) : !strcontains(text, "*")])
    error_message = "No wildcard in actions or resources."
  }
}
