/** Runs a job to its end: the process exits with what it resolves to, or 1 when it rejects, and says why in a line. */
export async function runOneShot(job: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await job();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    console.error(code === undefined ? message : `${code}: ${message}`);
    process.exitCode = 1;
  }
}
