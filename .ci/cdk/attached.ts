// Secrets of an app, attached to a function with a tag and a prefix, from another stack.
import { App, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { Schedule } from 'aws-cdk-lib/aws-events';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as rds from 'aws-cdk-lib/aws-rds';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { RotationFunction } from 'lockstep-cdk';

const app = new App();
const data = new Stack(app, 'data');
const vpc = new ec2.Vpc(data, 'Vpc', { natGateways: 0 });
const [first, second, third] = ['First', 'Second', 'Third'].map((id) => new kms.Key(data, id, { removalPolicy: RemovalPolicy.DESTROY }));
const database = new rds.DatabaseInstance(data, 'Database', {
  vpc,
  vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
  engine: rds.DatabaseInstanceEngine.POSTGRES,
  storageEncrypted: true,
  credentials: rds.Credentials.fromGeneratedSecret('superuser', { encryptionKey: third! }),
});
const plain = new Secret(data, 'Plain', { secretName: 'prod/plain', encryptionKey: first! });
const user = new Secret(data, 'User', { secretName: 'prod/user', encryptionKey: second! }).attach(database);

const rotation = new RotationFunction(new Stack(app, 'lockstep'), 'Rotation', {
  kind: 'postgres',
  vpc,
  superuserSecrets: [database.secret!],
  secretNamePrefix: 'prod/',
  secretTag: { key: 'team', value: 'orders' },
});
// The other direction than in the README.
rotation.connections.allowToDefaultPort(database);
rotation.attach(plain, Schedule.rate(Duration.days(30)), { rotateImmediately: true });
rotation.attach(user, Schedule.rate(Duration.days(30)));
