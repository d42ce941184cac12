export { Fleet } from './fleet';
export { FleetProps } from './fleet-props';
export { Kind } from './kinds';
export { AttachOptions, RotationFunction } from './rotation';
export { RotationFunctionProps, SecretTag } from './props';
