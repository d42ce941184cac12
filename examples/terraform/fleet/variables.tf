variable "function_arns" {
  description = "The rotation functions whose secrets the fleet may rotate, as in `module.rotation.function_arn`. Room for about fifteen."
  type        = list(string)
}

variable "alarm_topic_arn" {
  description = "The topic that receives the alarms, as in `module.rotation.alarm_topic_arn`."
  type        = string
}

variable "name_prefix" {
  description = "The state machine is called PREFIX-fleet, and so is its function."
  type        = string
  default     = "lockstep"
}

variable "package" {
  description = "The zip of the fleet's program. By default the one in this module for the architecture."
  type        = string
  default     = null
}

variable "architecture" {
  description = "The processor that the zip was built for: x86_64 or arm64."
  type        = string
  default     = "x86_64"
}

variable "layer_arns" {
  description = "Layers of the functions: ARNs that end in a version."
  type        = list(string)
  default     = []
}

variable "memory_size" {
  description = "Memory of each function in MB."
  type        = number
  default     = 256
}

variable "timeout" {
  description = "Time limit of the function for leaks, in seconds. That of the fleet's own is 900."
  type        = number
  default     = 60
}

variable "tags" {
  description = "Tags of everything that the module makes."
  type        = map(string)
  default     = {}
}

variable "permissions_boundary_arn" {
  description = "The permissions boundary of the roles. Null: none."
  type        = string
  default     = null
}

variable "role_path" {
  description = "The IAM path of the roles."
  type        = string
  default     = "/"
}

variable "secret_name_prefix" {
  description = "Only secrets whose names begin with this are touched. Empty: any."
  type        = string
  default     = ""
}

variable "secret_tag_key" {
  description = "Touch only secrets with this tag, which has the value secret_tag_value. Empty: no tag is required."
  type        = string
  default     = ""
}

variable "secret_tag_value" {
  description = "The value that the tag secret_tag_key must have."
  type        = string
  default     = ""
}

variable "kms_key_arns" {
  description = "The customer managed keys that encrypt the secrets: ARNs of keys."
  type        = list(string)
  default     = []
}

variable "rekey_kms_key_arns" {
  description = "The keys that an order with the mode rekey may name. Empty: no rekey."
  type        = list(string)
  default     = []
}

variable "vpc_subnet_ids" {
  description = "Subnets from which Secrets Manager, Systems Manager and Step Functions can be reached. Empty: the functions are in no VPC, which is enough for most."
  type        = list(string)
  default     = []
}

variable "vpc_security_group_ids" {
  description = "Security groups of the functions, together with vpc_subnet_ids."
  type        = list(string)
  default     = []
}

variable "secrets_manager_endpoint" {
  description = "URL of Secrets Manager. Empty: the region's."
  type        = string
  default     = ""
}

variable "ssm_endpoint" {
  description = "URL of Systems Manager, which holds the stop flag. Empty: the region's."
  type        = string
  default     = ""
}

variable "step_functions_endpoint" {
  description = "URL of Step Functions, where runs are listed and started. Empty: the region's."
  type        = string
  default     = ""
}

variable "fingerprint_key_secret_arn" {
  description = "The secret with the key of the fingerprints, by which a leaked value leads to its secret. Empty: the fleet looks for no leaks."
  type        = string
  default     = ""
}

variable "fingerprint_schedule" {
  description = "When the fingerprints of all secrets are written into their tags: rate() or cron(), or never."
  type        = string
  default     = "rate(1 day)"
}

variable "webhook_secret_arn" {
  description = "The secret with the text that signs GitHub's webhook, which gets a public address. Empty: no webhook."
  type        = string
  default     = ""
}

variable "github_token_secret_arn" {
  description = "The secret with a token that may read GitHub's secret scanning alerts. Empty: a person fetches the value of an alert."
  type        = string
  default     = ""
}

variable "github_api_url" {
  description = "URL of the API of your own GitHub, such as https://github.example.com/api/v3. Empty: https://api.github.com."
  type        = string
  default     = ""
}

variable "ca_bundle" {
  description = "CAs to trust at your own GitHub: the path of a PEM file in a layer, or PEM text."
  type        = string
  default     = ""
}

variable "webhook_requests_per_second" {
  description = "Requests of the webhook that are answered in a second."
  type        = number
  default     = 5
}

variable "hear_aws_findings" {
  description = "Look for the secret of each access key that AWS Health reports as exposed, or that a GuardDuty finding names."
  type        = bool
  default     = false
}

variable "start_on_leak" {
  description = "Start the emergency by itself for a leaked secret that has the tag lockstep:on-leak with the value rotate."
  type        = bool
  default     = false
}

variable "runbook_url" {
  description = "Where the texts of alarms find the runbooks."
  type        = string
  default     = "https://github.com/lockstep-rotation/lockstep/blob/main/docs/runbooks"
}

variable "log_level" {
  description = "The least severe level that is logged: ERROR, WARN, INFO, DEBUG or TRACE."
  type        = string
  default     = "INFO"
}

variable "log_retention_days" {
  description = "How many days the logs are kept. They have the audit records."
  type        = number
  default     = 90
}

variable "log_kms_key_arn" {
  description = "The key that encrypts the logs. Null: CloudWatch Logs' own encryption."
  type        = string
  default     = null
}

variable "tracing" {
  description = "Active: X-Ray traces each invocation and each execution. Otherwise PassThrough."
  type        = string
  default     = "PassThrough"
}

variable "allow_page_runs" {
  description = "Let people start and stop runs from the fleet's page. Whoever may invoke its function can then start every run."
  type        = bool
  default     = false
}
