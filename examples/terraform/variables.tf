variable "kind" {
  description = "The kind of credential that the function rotates: postgres, mysql (also MariaDB), api-key, signing-key or tls."
  type        = string

  validation {
    condition     = contains(["postgres", "mysql", "api-key", "signing-key", "tls"], var.kind)
    error_message = "The kind is postgres, mysql, api-key, signing-key or tls."
  }
}

# ---- The program ----

variable "package" {
  description = "The zip of the function, as a release has it, or from `cargo lambda build`. By default the one in this module for the kind and the architecture."
  type        = string
  default     = null
}

variable "s3_bucket" {
  description = "The bucket that has the zip, in place of `package`. It must be in the region of the function."
  type        = string
  default     = null
}

variable "s3_key" {
  description = "The key of the zip in s3_bucket. Give each version of the zip a key of its own, because Lambda reads the zip only if the key changes."
  type        = string
  default     = null
}

variable "s3_object_version" {
  description = "The version of the zip in s3_bucket, if the bucket has versions."
  type        = string
  default     = null
}

variable "architecture" {
  description = "The processor that the zip was built for: x86_64 or arm64."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture is x86_64 or arm64."
  }
}

variable "layer_arns" {
  description = "Layers with the files under /opt that ca_bundle or issuers name: ARNs that end in a version."
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

variable "reserved_concurrency" {
  description = "Concurrent invocations that are kept free for this function. Null: none."
  type        = number
  default     = null
}

variable "environment" {
  description = "Further environment variables of the function, such as AWS_USE_FIPS_ENDPOINT. They win over the other variables of the module."
  type        = map(string)
  default     = {}
}

# ---- Names, tags and the role ----

variable "name_prefix" {
  description = "The function is called PREFIX-KIND, its role PREFIX-KIND-REGION. A change replaces the function and deletes its log."
  type        = string
  default     = "lockstep"

  # A role's name has at most 64 characters: the prefix, a hyphen, the kind, a hyphen, and at most 16 for the region.
  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_-]{0,34}$", var.name_prefix))
    error_message = "The prefix is a letter, and at most 34 letters, digits, hyphens and underscores more."
  }
}

variable "tags" {
  description = "Tags of everything that the module makes."
  type        = map(string)
  default     = {}
}

variable "permissions_boundary_arn" {
  description = "The permissions boundary of the role. Null: none."
  type        = string
  default     = null
}

variable "role_path" {
  description = "The IAM path of the role."
  type        = string
  default     = "/"
}

# ---- Secrets ----

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

variable "secret_tag_key" {
  description = "Rotate only secrets with this tag, which has the value secret_tag_value. Empty: no tag is required."
  type        = string
  default     = ""
}

variable "secret_tag_value" {
  description = "The value that the tag secret_tag_key must have."
  type        = string
  default     = ""
}

variable "superuser_secret_arns" {
  description = "Databases: the full ARNs of the secrets that `masterarn` may name."
  type        = list(string)
  default     = []
}

variable "superuser_secret_name_prefix" {
  description = "Databases: `masterarn` may also name secrets whose names begin with this. Empty: none."
  type        = string
  default     = ""
}

variable "admin_secret_arns" {
  description = "API keys: the full ARNs of the secrets that `rotation.adminSecretArn` may name."
  type        = list(string)
  default     = []
}

variable "admin_secret_name_prefix" {
  description = "API keys: `rotation.adminSecretArn` may also name secrets whose names begin with this. Empty: none."
  type        = string
  default     = ""
}

variable "issuer_source_arns" {
  description = "API keys: the ARNs of the parameters and secrets in `issuers`. The function gets permission to read them."
  type        = list(string)
  default     = []
}

variable "account_secret_arns" {
  description = "Certificates: the full ARNs of the secrets with keys of accounts at CAs that `rotation.accountSecretArn` may name."
  type        = list(string)
  default     = []
}

variable "kms_key_arns" {
  description = "Customer managed keys that encrypt the secrets. Empty: the AWS managed key aws/secretsmanager, which needs no permission."
  type        = list(string)
  default     = []
}

# ---- Network ----

variable "vpc_subnet_ids" {
  description = "Subnets from which the database and Secrets Manager can be reached. Empty: the function is in no VPC."
  type        = list(string)
  default     = []
}

variable "vpc_security_group_ids" {
  description = "Security groups of the function, together with vpc_subnet_ids."
  type        = list(string)
  default     = []
}

variable "secrets_manager_endpoint" {
  description = "URL of Secrets Manager, such as a VPC endpoint without private DNS. Empty: the region's."
  type        = string
  default     = ""
}

variable "rds_endpoint" {
  description = "Databases: URL of the RDS API. Empty: the region's."
  type        = string
  default     = ""
}

variable "ssm_endpoint" {
  description = "API keys, signing keys: URL of Systems Manager. Empty: the region's."
  type        = string
  default     = ""
}

variable "s3_endpoint" {
  description = "Signing keys, certificates: URL of S3. Empty: the region's."
  type        = string
  default     = ""
}

variable "route53_endpoint" {
  description = "Certificates: URL of Route 53. Empty: the usual one."
  type        = string
  default     = ""
}

variable "acm_endpoint" {
  description = "Certificates: URL of ACM. Empty: the usual one."
  type        = string
  default     = ""
}

# ---- Alarms and logs ----

variable "alarm_topic_arn" {
  description = "The topic that receives the alarms. Its policy and its key must let CloudWatch and EventBridge publish. Null: a new one."
  type        = string
  default     = null
}

variable "alarm_email" {
  description = "The address that receives the alarms. AWS asks its owner to confirm. Empty: no subscription."
  type        = string
  default     = ""
}

variable "runbook_url" {
  description = "Where the texts of alarms find the runbooks."
  type        = string
  default     = "https://github.com/lockstep-rotation/lockstep/blob/main/docs/runbooks"
}

variable "watch_schedule" {
  description = "Schedule of the daily look for rotations that are overdue or stuck: rate() or cron(), or never."
  type        = string
  default     = "rate(1 day)"

  validation {
    condition     = can(regex("^(never|(rate|cron)\\(.+\\))$", var.watch_schedule))
    error_message = "The schedule is never, or rate(...) or cron(...), as EventBridge has it."
  }
}

variable "look_missing_hours" {
  description = "Hours without a successful daily look after which the alarm look-missing rings, 2 to 168: more than the interval of watch_schedule."
  type        = number
  default     = 26

  validation {
    condition     = var.look_missing_hours >= 2 && var.look_missing_hours <= 168
    error_message = "An alarm can look back 2 to 168 hours."
  }
}

variable "log_retention_days" {
  description = "How many days the log is kept. It has the audit records."
  type        = number
  default     = 90
}

variable "log_kms_key_arn" {
  description = "The key that encrypts the log. Its policy must let CloudWatch Logs use it. Null: CloudWatch Logs' own encryption."
  type        = string
  default     = null
}

variable "log_level" {
  description = "The least severe level that is logged: ERROR, WARN, INFO, DEBUG or TRACE."
  type        = string
  default     = "INFO"
}

variable "tracing" {
  description = "Active: X-Ray traces each invocation. Otherwise PassThrough."
  type        = string
  default     = "PassThrough"
}
