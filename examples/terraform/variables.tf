variable "kind" {
  description = "The kind of credential that the function rotates: postgres, mysql (also MariaDB) or api-key."
  type        = string
  default     = "postgres"

  validation {
    condition     = contains(["postgres", "mysql", "api-key"], var.kind)
    error_message = "The kind is postgres, mysql or api-key."
  }
}

variable "package" {
  description = "The zip file from `cargo lambda build`. By default the one in target/lambda of this repository."
  type        = string
  default     = null
}

variable "architecture" {
  description = "The processor that the zip was built for: x86_64 or arm64."
  type        = string
  default     = "x86_64"
}

variable "layer_arns" {
  description = "Layers with the files under /opt that CA_BUNDLE or ISSUERS name: ARNs that end in a version."
  type        = list(string)
  default     = []
}

variable "memory_size" {
  description = "Memory of the function in MB."
  type        = number
  default     = 256
}

variable "timeout" {
  description = "The longest time of one step of a rotation in seconds, 15 to 900."
  type        = number
  default     = 60

  validation {
    condition     = var.timeout >= 15 && var.timeout <= 900
    error_message = "The timeout is 15 to 900 seconds."
  }
}

variable "name_prefix" {
  description = "The function is called PREFIX-KIND, its role PREFIX-KIND-REGION. Its permissions are built from this name."
  type        = string
  default     = "lockstep"

  # A role's name has at most 64 characters: 38 for the prefix, "-postgres", a hyphen, and 16 for the region.
  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_-]{0,37}$", var.name_prefix))
    error_message = "The prefix is a letter, and at most 37 letters, digits, hyphens and underscores more."
  }
}

variable "secrets" {
  description = "The secrets to rotate: for each, a name of your choice, the secret's ARN, and its schedule (rate() or cron(), in UTC)."
  type = map(object({
    arn                = string
    schedule           = optional(string, "rate(30 days)")
    window             = optional(string)
    rotate_immediately = optional(bool, false)
  }))
  default = {}
}

variable "secret_name_prefix" {
  description = "Rotate only secrets whose names begin with this. Empty: all secrets that name this function."
  type        = string
  default     = ""
}

variable "superuser_secret_arns" {
  description = "Databases: the full ARNs of the secrets that `masterarn` may name."
  type        = list(string)
  default     = []
}

variable "admin_secret_arns" {
  description = "API keys: the full ARNs of the secrets that `rotation.adminSecretArn` may name."
  type        = list(string)
  default     = []
}

variable "issuer_source_arns" {
  description = "API keys: the ARNs of the parameters and secrets that the environment variable ISSUERS names."
  type        = list(string)
  default     = []
}

variable "kms_key_arns" {
  description = "Customer managed keys that encrypt the secrets. Empty for the AWS managed key aws/secretsmanager."
  type        = list(string)
  default     = []
}

variable "subnet_ids" {
  description = "Subnets from which the database and Secrets Manager can be reached. Empty: the function is in no VPC."
  type        = list(string)
  default     = []
}

variable "security_group_ids" {
  description = "Security groups of the function, together with subnet_ids."
  type        = list(string)
  default     = []
}

variable "environment" {
  description = "Further environment variables of the function: docs/configuration.md."
  type        = map(string)
  default     = {}
}

variable "log_retention_days" {
  description = "How many days logs are kept."
  type        = number
  default     = 90
}

variable "watch_schedule" {
  description = "How often the function checks for rotations that are overdue or stuck: rate() or cron(), or never."
  type        = string
  default     = "rate(1 day)"

  validation {
    condition     = can(regex("^(never|(rate|cron)\\(.+\\))$", var.watch_schedule))
    error_message = "The schedule is never, or rate(...) or cron(...), as EventBridge has it."
  }
}

variable "alarm_email" {
  description = "The address that is told of failures. AWS asks its owner to confirm. Empty: a topic without a subscriber."
  type        = string
  default     = ""
}
