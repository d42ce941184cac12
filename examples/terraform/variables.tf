variable "kind" {
  description = "What the function rotates: postgres, mysql (MariaDB, too) or api-key."
  type        = string
  default     = "postgres"

  validation {
    condition     = contains(["postgres", "mysql", "api-key"], var.kind)
    error_message = "The kind is postgres, mysql or api-key."
  }
}

variable "package" {
  description = "The zip file that `cargo lambda build` has made. Without it, the one in target/lambda of this repository."
  type        = string
  default     = null
}

variable "architecture" {
  description = "The processor that the zip was built for: x86_64 or arm64."
  type        = string
  default     = "x86_64"
}

variable "name_prefix" {
  description = "The function is called PREFIX-KIND. Its permissions are built from this name."
  type        = string
  default     = "lockstep"
}

variable "secrets" {
  description = "The secrets to rotate: a name of your choice, the secret's ARN, and when (cron() and rate() are in UTC)."
  type = map(object({
    arn                = string
    schedule           = optional(string, "rate(30 days)")
    window             = optional(string)
    rotate_immediately = optional(bool, false)
  }))
  default = {}
}

variable "secret_name_prefix" {
  description = "Serve only secrets whose names begin like this. Empty: any that names this function."
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
  description = "API keys: the parameters and secrets that the variable ISSUERS names."
  type        = list(string)
  default     = []
}

variable "kms_key_arns" {
  description = "Customer managed keys that encrypt the secrets. Empty for the AWS managed key aws/secretsmanager."
  type        = list(string)
  default     = []
}

variable "subnet_ids" {
  description = "Subnets from which the database and Secrets Manager can be reached. Empty: outside any VPC."
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
  description = "Days for which logs are kept."
  type        = number
  default     = 90
}

variable "alarm_email" {
  description = "Who is told of failures. AWS sends a mail that asks to confirm. Empty: a topic without a subscriber."
  type        = string
  default     = ""
}
