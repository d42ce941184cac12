# What the function reads from its environment. docs/configuration.md explains each variable.

variable "password_length" {
  description = "Characters in a new password, 8 to 4096."
  type        = number
  default     = 32
}

variable "exclude_characters" {
  description = "Characters that a new password never has."
  type        = string
  default     = "\\:/@\"'"
}

variable "exclude_numbers" {
  description = "Use no digits."
  type        = bool
  default     = false
}

variable "exclude_punctuation" {
  description = "Use no punctuation."
  type        = bool
  default     = false
}

variable "exclude_uppercase" {
  description = "Use no capital letters."
  type        = bool
  default     = false
}

variable "exclude_lowercase" {
  description = "Use no small letters."
  type        = bool
  default     = false
}

variable "require_each_included_type" {
  description = "Use at least one character of each kind that is not excluded."
  type        = bool
  default     = true
}

variable "ca_bundle" {
  description = "CAs to trust besides Amazon's (API keys: Mozilla's): the path of a PEM file in a layer, or PEM text."
  type        = string
  default     = ""
}

variable "allow_recover" {
  description = "Let the event `recover` do the next action that `diagnose` names, if that is safe."
  type        = bool
  default     = false
}

variable "allow_rotate_now" {
  description = "Let the page, and the event `rotateNow`, begin a rotation of a secret that this function serves."
  type        = bool
  default     = false
}

variable "allow_retire" {
  description = "Let the events `retire` and `endSessions` end a superseded credential early, and its user's sessions."
  type        = bool
  default     = false
}

variable "max_refused_logins" {
  description = "Databases: how many refused logins end the search for a password that works, 0 to 10. Null: depends on the server."
  type        = number
  default     = null
}

variable "allow_powerful_roles" {
  description = "Databases: let the superuser change the passwords of other superusers, and of users who can become one."
  type        = bool
  default     = false
}

variable "allow_md5" {
  description = "PostgreSQL: store an md5 hash where the server's password_encryption is md5."
  type        = bool
  default     = false
}

variable "username_character_limit" {
  description = "MySQL and MariaDB: the longest user name. Null: the server's limit."
  type        = number
  default     = null
}

variable "issuers" {
  description = "API keys: where your own descriptions of issuers are: `file:`, `ssm:` or `secret:` and a path, name or ARN."
  type        = list(string)
  default     = []
}

variable "allowed_hosts" {
  description = "API keys: hosts that may be called besides those of the description, each as ISSUER=HOST."
  type        = list(string)
  default     = []
}

variable "allowed_private_hosts" {
  description = "API keys: hosts that may have private or loopback addresses, each as ISSUER=HOST."
  type        = list(string)
  default     = []
}

variable "allow_unproven_keys" {
  description = "API keys: replace a key that does not work even if nothing proves that it belongs to the secret."
  type        = bool
  default     = false
}

variable "issuer_endpoint_url" {
  description = "API keys: URL of a proxy that ends TLS and receives all requests to issuers. Empty: none."
  type        = string
  default     = ""
}

variable "allowed_domains" {
  description = "Certificates: the only domains, with all names below them, that certificates are for. Empty: all names in the hosted zones."
  type        = list(string)
  default     = []
}

variable "directories" {
  description = "Certificates: URLs of the only directories of CAs that secrets may name. Empty: any with a public address."
  type        = list(string)
  default     = []
}

variable "verify_hosts" {
  description = "Signing keys: hosts that `rotation.verifyAt` of a secret may name. The function fetches the published keys there, as verifiers do."
  type        = list(string)
  default     = []
}

variable "endpoint_hosts" {
  description = "Certificates: hosts that `rotation.endpoint` of a secret may name beside those that its certificate is for."
  type        = list(string)
  default     = []
}

locals {
  all          = keys(local.kinds)
  databases    = [for kind, it in local.kinds : kind if it.reads == "superusers"]
  api_keys     = [for kind, it in local.kinds : kind if it.reads == "admins"]
  signing_keys = ["signing-key"]
  certificates = [for kind, it in local.kinds : kind if it.renews]

  # The environment variable of each setting, the kinds that read it, and what it is when nobody sets it.
  settings = {
    LOG_LEVEL                  = { readers = local.all, value = var.log_level, unset = "INFO" }
    ALLOW_RECOVER              = { readers = local.all, value = tostring(var.allow_recover), unset = "false" }
    ALLOW_ROTATE_NOW           = { readers = local.all, value = tostring(var.allow_rotate_now), unset = "false" }
    ALLOW_RETIRE               = { readers = local.all, value = tostring(var.allow_retire), unset = "false" }
    SECRETS_MANAGER_ENDPOINT   = { readers = local.all, value = var.secrets_manager_endpoint, unset = "" }
    CA_BUNDLE                  = { readers = local.all, value = var.ca_bundle, unset = "" }
    PASSWORD_LENGTH            = { readers = local.all, value = tostring(var.password_length), unset = "32" }
    EXCLUDE_CHARACTERS         = { readers = local.all, value = var.exclude_characters, unset = "" }
    EXCLUDE_NUMBERS            = { readers = local.all, value = tostring(var.exclude_numbers), unset = "false" }
    EXCLUDE_PUNCTUATION        = { readers = local.all, value = tostring(var.exclude_punctuation), unset = "false" }
    EXCLUDE_UPPERCASE          = { readers = local.all, value = tostring(var.exclude_uppercase), unset = "false" }
    EXCLUDE_LOWERCASE          = { readers = local.all, value = tostring(var.exclude_lowercase), unset = "false" }
    REQUIRE_EACH_INCLUDED_TYPE = { readers = local.all, value = tostring(var.require_each_included_type), unset = "true" }
    AWS_ENDPOINT_URL_RDS       = { readers = local.databases, value = var.rds_endpoint, unset = "" }
    MAX_REFUSED_LOGINS         = { readers = local.databases, value = var.max_refused_logins == null ? "" : tostring(var.max_refused_logins), unset = "" }
    ALLOW_POWERFUL_ROLES       = { readers = local.databases, value = tostring(var.allow_powerful_roles), unset = "false" }
    ALLOW_MD5                  = { readers = ["postgres"], value = tostring(var.allow_md5), unset = "false" }
    USERNAME_CHARACTER_LIMIT   = { readers = ["mysql"], value = var.username_character_limit == null ? "" : tostring(var.username_character_limit), unset = "" }
    AWS_ENDPOINT_URL_SSM       = { readers = concat(local.api_keys, local.signing_keys), value = var.ssm_endpoint, unset = "" }
    ISSUERS                    = { readers = local.api_keys, value = join(",", var.issuers), unset = "" }
    ALLOWED_HOSTS              = { readers = local.api_keys, value = join(",", var.allowed_hosts), unset = "" }
    ALLOWED_PRIVATE_HOSTS      = { readers = local.api_keys, value = join(",", var.allowed_private_hosts), unset = "" }
    ALLOW_UNPROVEN_KEYS        = { readers = local.api_keys, value = tostring(var.allow_unproven_keys), unset = "false" }
    ISSUER_ENDPOINT_URL        = { readers = local.api_keys, value = var.issuer_endpoint_url, unset = "" }
    AWS_ENDPOINT_URL_S3        = { readers = concat(local.signing_keys, local.certificates), value = var.s3_endpoint, unset = "" }
    PLACES                     = { readers = local.signing_keys, value = join(",", var.published_places), unset = "" }
    VERIFY_HOSTS               = { readers = local.signing_keys, value = join(",", var.verify_hosts), unset = "" }
    AWS_ENDPOINT_URL_ROUTE_53  = { readers = local.certificates, value = var.route53_endpoint, unset = "" }
    AWS_ENDPOINT_URL_ACM       = { readers = local.certificates, value = var.acm_endpoint, unset = "" }
    ALLOWED_DOMAINS            = { readers = local.certificates, value = join(",", var.allowed_domains), unset = "" }
    DIRECTORIES                = { readers = local.certificates, value = join(",", var.directories), unset = "" }
    ENDPOINT_HOSTS             = { readers = local.certificates, value = join(",", var.endpoint_hosts), unset = "" }
    # Set but empty means none. If the variable were absent, every secret that the role can read would be allowed.
    SUPERUSER_SECRET_ARNS = { readers = local.databases, value = join(",", local.superusers), unset = "" }
    ADMIN_SECRET_ARNS     = { readers = local.api_keys, value = join(",", local.admins), unset = "" }
    ACCOUNT_SECRET_ARNS   = { readers = local.certificates, value = join(",", var.account_secret_arns), unset = "" }
  }

  always = ["EXCLUDE_CHARACTERS", "SUPERUSER_SECRET_ARNS", "ADMIN_SECRET_ARNS", "ACCOUNT_SECRET_ARNS"]
  variables = {
    for name, it in local.settings : name => it.value
    if contains(it.readers, var.kind) && (it.value != "" || contains(local.always, name))
  }
  # A setting that the function does not read would do nothing, and nobody would see it.
  misplaced = sort(concat(
    [for name, it in local.settings : name if !contains(it.readers, var.kind) && it.value != it.unset],
    [for name, it in local.places : name if !contains(it.readers, var.kind) && length(it.arns) > 0],
  ))
}
