/** How Terraform gets the docker provider: from its registry, or from a mirror on this machine. */

import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import type { ImageSource } from '../catalog/environments.ts';
import { cacheDirectory } from '../environment/paths.ts';
import { MusterError } from '../workers/base/errors.ts';
import { builtProviderConfig, providerMirror, type Report } from './artifacts.ts';
import { compareVersions } from './engine.ts';
import { findProgram } from './programs.ts';

const registryProbe = 'https://registry.terraform.io/.well-known/terraform.json';
const oldestTerraform = '1.5';

/**
 * Makes sure that a usable Terraform is on PATH.
 * Errors: MUSTER_TERRAFORM_MISSING, MUSTER_TERRAFORM_TOO_OLD; both say where to get it.
 * @returns its version
 */
export async function ensureTerraform(): Promise<string> {
  const where = `https://developer.hashicorp.com/terraform/install has packages and a single binary for every system`;
  const result = await execa('terraform', ['version', '-json'], {
    reject: false,
    timeout: 30_000,
    // A configuration file that is named but missing makes every command fail.
    env: { CHECKPOINT_DISABLE: '1', TF_CLI_CONFIG_FILE: await emptyConfig() },
  });
  if (result.exitCode !== 0) {
    const other =
      findProgram('tofu') === undefined ? '' : ' OpenTofu is here, and was not tried with muster.';
    throw new MusterError(
      'MUSTER_TERRAFORM_MISSING',
      `terraform is not installed or does not start.${other} ${where}; put it on PATH, then run this again.`,
    );
  }
  const version = (JSON.parse(result.stdout) as { terraform_version: string }).terraform_version;
  if (compareVersions(version, oldestTerraform) < 0) {
    throw new MusterError(
      'MUSTER_TERRAFORM_TOO_OLD',
      `terraform is version ${version}; muster needs ${oldestTerraform} or newer. ${where}.`,
    );
  }
  return version;
}

/** Our own configuration file that changes nothing. */
async function emptyConfig(): Promise<string> {
  const file = join(cacheDirectory(), 'terraform-direct.rc');
  if (!existsSync(file)) {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, '# Terraform asks its registry.\n');
  }
  return file;
}

async function registryAnswers(): Promise<boolean> {
  try {
    return (await fetch(registryProbe, { method: 'HEAD', signal: AbortSignal.timeout(5_000) })).ok;
  } catch {
    return false;
  }
}

/** The configuration file that Terraform would use by itself, when it exists. */
function usersConfig(): string | undefined {
  const file = process.env.TF_CLI_CONFIG_FILE || join(homedir(), '.terraformrc');
  return existsSync(file) ? file : undefined;
}

/**
 * File for TF_CLI_CONFIG_FILE without building anything, for `./muster env`; undefined while the mirror that is needed
 * has not been built yet. Under `build` always the mirror; under `registry` the user's own file, and the mirror only
 * where Terraform's registry is out of reach.
 */
export async function knownTerraformConfigFile(source: ImageSource): Promise<string | undefined> {
  if (source === 'build') return builtProviderConfig();
  const own = usersConfig();
  if (own !== undefined) return own;
  return (await registryAnswers()) ? emptyConfig() : builtProviderConfig();
}

/** File for TF_CLI_CONFIG_FILE; builds the mirror when it is needed (on first use, about 2 minutes on two cores). */
export async function terraformConfigFile(source: ImageSource, report: Report): Promise<string> {
  return (await knownTerraformConfigFile(source)) ?? join(await providerMirror(report), 'terraform.rc');
}
