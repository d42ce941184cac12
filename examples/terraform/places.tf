# Where the functions for signing keys and for certificates write, and what their roles may do there.

variable "published_object_arns" {
  description = "Signing keys: ARNs of the S3 objects that `rotation.publish` may name. The function may read and write them."
  type        = list(string)
  default     = []
}

variable "published_bucket_arns" {
  description = "Signing keys: ARNs of the buckets of published_object_arns. The function may list them, to tell an object that is not there from one that it may not read."
  type        = list(string)
  default     = []
}

variable "published_parameter_arns" {
  description = "Signing keys: ARNs of the Systems Manager parameters that `rotation.publish` may name. The function may read and write them."
  type        = list(string)
  default     = []
}

variable "published_places" {
  description = "Signing keys: the only places that `rotation.publish` may name, as PLACE, or as SECRET=PLACE for one secret. Each may end with an asterisk. Key groups of CloudFront have to be listed. Empty: all places that the function may write, and no key group."
  type        = list(string)
  default     = []
}

variable "cloudfront_key_groups" {
  description = "Signing keys: let the function put keys into key groups of CloudFront, for signed URLs."
  type        = bool
  default     = false
}

variable "hosted_zone_arns" {
  description = "Certificates: ARNs of the hosted zones in which the function answers the challenges of CAs with TXT records."
  type        = list(string)
  default     = []
}

variable "challenge_names" {
  description = "Certificates: the names of TXT records that the function may change in these zones. Add those that delegations of other domains lead to."
  type        = list(string)
  default     = ["_acme-challenge.*"]
}

variable "acm_certificate_arns" {
  description = "Certificates: ARNs of the imported certificates in ACM that the function may replace."
  type        = list(string)
  default     = []
}

variable "certificate_object_arns" {
  description = "Certificates: ARNs of the objects in S3 that the function may write."
  type        = list(string)
  default     = []
}

locals {
  # Settings that give only permissions, and the kinds that use them.
  places = {
    issuer_source_arns       = { readers = local.api_keys, arns = var.issuer_source_arns }
    published_object_arns    = { readers = local.signing_keys, arns = var.published_object_arns }
    published_bucket_arns    = { readers = local.signing_keys, arns = var.published_bucket_arns }
    published_parameter_arns = { readers = local.signing_keys, arns = var.published_parameter_arns }
    cloudfront_key_groups    = { readers = local.signing_keys, arns = var.cloudfront_key_groups ? ["*"] : [] }
    hosted_zone_arns         = { readers = local.certificates, arns = var.hosted_zone_arns }
    acm_certificate_arns     = { readers = local.certificates, arns = var.acm_certificate_arns }
    certificate_object_arns  = { readers = local.certificates, arns = var.certificate_object_arns }
  }

  # Whether the function answers challenges in hosted zones.
  answers = length(var.hosted_zone_arns) > 0

  # Statements of the role. Those without resources are left out.
  place_statements = [for it in [
    { sid = "PublishedKeysInObjects", actions = ["s3:GetObject", "s3:PutObject"], resources = var.published_object_arns },
    # Without it, S3 answers that an object which is not there may not be read.
    { sid = "ObjectsThatAreNotThere", actions = ["s3:ListBucket"], resources = var.published_bucket_arns },
    { sid = "PublishedKeysInParameters", actions = ["ssm:GetParameter", "ssm:PutParameter"], resources = var.published_parameter_arns },
    # IAM supports no narrower resource for these actions. published_places says which key groups a secret may name.
    { sid = "KeyGroupsOfCloudFront", actions = [for it in ["GetKeyGroup", "UpdateKeyGroup", "ListPublicKeys", "GetPublicKey", "CreatePublicKey", "DeletePublicKey"] : "cloudfront:${it}"], resources = var.cloudfront_key_groups ? ["*"] : [] },
    { sid = "AccountSecrets", actions = ["secretsmanager:DescribeSecret"], resources = var.account_secret_arns },
    { sid = "RecordsOfHostedZones", actions = ["route53:ListResourceRecordSets"], resources = var.hosted_zone_arns },
    # IAM supports no narrower resource for ListHostedZonesByName. The answer has names of zones and no records.
    { sid = "FindHostedZones", actions = ["route53:ListHostedZonesByName"], resources = local.answers ? ["*"] : [] },
    { sid = "ChangesInSync", actions = ["route53:GetChange"], resources = local.answers ? ["${local.arns}:route53:::change/*"] : [] },
    # A tag says which secret a certificate belongs to. What ACM has already is not imported again.
    {
      sid       = "CertificatesInAcm"
      actions   = ["acm:ImportCertificate", "acm:GetCertificate", "acm:ListTagsForCertificate", "acm:AddTagsToCertificate"]
      resources = var.acm_certificate_arns
    },
    # An object's metadata say which secret it belongs to.
    { sid = "CertificatesInS3", actions = ["s3:GetObject", "s3:PutObject"], resources = var.certificate_object_arns },
  ] : it if length(it.resources) > 0]
}
