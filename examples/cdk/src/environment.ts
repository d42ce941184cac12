import { Kind, KINDS } from './kinds';
import { RotationFunctionProps } from './props';

const ALL = Object.keys(KINDS) as Kind[];
const DATABASES = ALL.filter((kind) => KINDS[kind].reads === 'superuser secrets');
const API_KEYS = ALL.filter((kind) => KINDS[kind].reads === 'admin secrets and descriptions of issuers');
const SIGNING_KEYS: Kind[] = ['signing-key'];
const CERTIFICATES = ALL.filter((kind) => KINDS[kind].renewsCertificates);

type Value = string | number | boolean;
/** A variable: the kinds that read it, and its default, if it is set without the property. */
type Variable = [name: string, readBy: Kind[], fallback?: Value];

/** The variable that a property sets. Defaults are those of the SAM template. */
const VARIABLES = {
  logLevel: ['LOG_LEVEL', ALL, 'INFO'],
  allowRecover: ['ALLOW_RECOVER', ALL, false],
  allowRotateNow: ['ALLOW_ROTATE_NOW', ALL, false],
  allowRetire: ['ALLOW_RETIRE', ALL, false],
  secretsManagerEndpoint: ['SECRETS_MANAGER_ENDPOINT', ALL],
  caBundle: ['CA_BUNDLE', ALL],
  passwordLength: ['PASSWORD_LENGTH', ALL, 32],
  excludeCharacters: ['EXCLUDE_CHARACTERS', ALL, '\\:/@"\''],
  excludeNumbers: ['EXCLUDE_NUMBERS', ALL, false],
  excludePunctuation: ['EXCLUDE_PUNCTUATION', ALL, false],
  excludeUppercase: ['EXCLUDE_UPPERCASE', ALL, false],
  excludeLowercase: ['EXCLUDE_LOWERCASE', ALL, false],
  requireEachIncludedType: ['REQUIRE_EACH_INCLUDED_TYPE', ALL, true],
  rdsEndpoint: ['AWS_ENDPOINT_URL_RDS', DATABASES],
  maxRefusedLogins: ['MAX_REFUSED_LOGINS', DATABASES],
  allowPowerfulRoles: ['ALLOW_POWERFUL_ROLES', DATABASES, false],
  allowMd5: ['ALLOW_MD5', ['postgres'], false],
  usernameCharacterLimit: ['USERNAME_CHARACTER_LIMIT', ['mysql']],
  ssmEndpoint: ['AWS_ENDPOINT_URL_SSM', [...API_KEYS, ...SIGNING_KEYS]],
  issuers: ['ISSUERS', API_KEYS],
  allowedHosts: ['ALLOWED_HOSTS', API_KEYS],
  allowedPrivateHosts: ['ALLOWED_PRIVATE_HOSTS', API_KEYS],
  allowUnprovenKeys: ['ALLOW_UNPROVEN_KEYS', API_KEYS, false],
  issuerEndpointUrl: ['ISSUER_ENDPOINT_URL', API_KEYS],
  s3Endpoint: ['AWS_ENDPOINT_URL_S3', [...SIGNING_KEYS, ...CERTIFICATES]],
  publishedPlaces: ['PLACES', SIGNING_KEYS],
  verifyHosts: ['VERIFY_HOSTS', SIGNING_KEYS],
  route53Endpoint: ['AWS_ENDPOINT_URL_ROUTE_53', CERTIFICATES],
  acmEndpoint: ['AWS_ENDPOINT_URL_ACM', CERTIFICATES],
  allowedDomains: ['ALLOWED_DOMAINS', CERTIFICATES],
  directories: ['DIRECTORIES', CERTIFICATES],
  endpointHosts: ['ENDPOINT_HOSTS', CERTIFICATES],
} satisfies Partial<Record<keyof RotationFunctionProps, Variable>>;

/** Properties that set no variable of their own, and that only some kinds have. */
const OF_SOME_KINDS: Partial<Record<keyof RotationFunctionProps, Kind[]>> = {
  superuserSecrets: DATABASES,
  superuserSecretNamePrefix: DATABASES,
  adminSecrets: API_KEYS,
  adminSecretNamePrefix: API_KEYS,
  issuerSourceArns: API_KEYS,
  publishedObjectArns: SIGNING_KEYS,
  publishedBucketArns: SIGNING_KEYS,
  publishedParameterArns: SIGNING_KEYS,
  cloudFrontKeyGroups: SIGNING_KEYS,
  accountSecrets: CERTIFICATES,
  hostedZones: CERTIFICATES,
  challengeNames: CERTIFICATES,
  acmCertificateArns: CERTIFICATES,
  certificateObjectArns: CERTIFICATES,
};

/** The variables that properties set, without those that limit which secrets a function reads. */
export function variables(props: RotationFunctionProps): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [property, [name, readBy, fallback]] of Object.entries(VARIABLES) as [keyof typeof VARIABLES, Variable][]) {
    const value = props[property] ?? (readBy.includes(props.kind) ? fallback : undefined);
    if (value !== undefined) found[name] = Array.isArray(value) ? value.join(',') : String(value);
  }
  return found;
}

/** Fails for a property that the function of this kind does not read: otherwise nobody would see that it does nothing. */
export function checkKind(props: RotationFunctionProps) {
  const readers = Object.entries(VARIABLES).map(([property, [, readBy]]): [string, Kind[]] => [property, readBy]);
  for (const [property, readBy] of [...readers, ...Object.entries(OF_SOME_KINDS)]) {
    if (props[property as keyof RotationFunctionProps] !== undefined && !readBy.includes(props.kind)) {
      throw new Error(`The property ${property} is not for a function of the kind ${props.kind}, but for ${readBy.join(' and ')}.`);
    }
  }
}
