/** One way to call the API. A refusal becomes an ApiError whose message is the server's own sentence. */

const base = '/api/v1';

export class ApiError extends Error {
  constructor(readonly status: number, readonly kind: string, message: string) {
    super(message);
    this.name = 'ApiError';
  }
}

type Body = { json?: unknown; raw?: BodyInit; type?: string; signal?: AbortSignal; headers?: Record<string, string> };
const unauthenticated = new Set<() => void>();

/** Calls f whenever the server says that the session is over. */
export function onSignedOut(f: () => void): () => void {
  unauthenticated.add(f);
  return () => unauthenticated.delete(f);
}

export async function request(method: string, path: string, body: Body = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json', ...body.headers };
  if (body.json !== undefined) headers['Content-Type'] = 'application/json';
  else if (body.raw !== undefined) headers['Content-Type'] = body.type ?? 'application/octet-stream';
  let res: Response;
  try {
    res = await fetch(base + path, {
      method, headers, credentials: 'same-origin', signal: body.signal ?? null,
      body: body.json !== undefined ? JSON.stringify(body.json) : (body.raw ?? null),
    });
  } catch (err) {
    if (err instanceof DOMException && err.name === 'AbortError') throw err;
    throw new ApiError(0, 'unreachable', '');
  }
  if (!res.ok) {
    if (res.status === 401 && path !== '/session') unauthenticated.forEach((f) => f());
    throw refusal(res.status, await res.text().catch(() => ''));
  }
  return res;
}

/** Reads the API's error body; what is not one (a proxy's page, say) keeps its status. */
export function refusal(status: number, text: string): ApiError {
  try {
    const e = JSON.parse(text) as { kind?: string; message?: string; error?: string; detail?: string };
    const message = e.message ?? e.error ?? e.detail;
    if (message) return new ApiError(status, e.kind ?? '', message);
  } catch { /* not JSON */ }
  return new ApiError(status, '', '');
}

export async function call<T>(method: string, path: string, body?: Body): Promise<T> {
  const res = await request(method, path, body);
  const text = await res.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

export const get = <T>(path: string, signal?: AbortSignal) => call<T>('GET', path, signal ? { signal } : {});
export const post = <T>(path: string, json: unknown = {}) => call<T>('POST', path, { json });

/** Puts a query string together and leaves out what is empty. */
export function query(path: string, params: Record<string, string | number | boolean | undefined>): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) if (v !== undefined && v !== '' && v !== false) q.set(k, String(v));
  const s = q.toString();
  return s ? `${path}?${s}` : path;
}

/** A name as a part of a path. */
export const part = encodeURIComponent;

/** Sends a file and tells how much of it has gone; fetch cannot. */
export function upload<T>(path: string, file: Blob, progress: (fraction: number) => void, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open('POST', base + path);
    xhr.setRequestHeader('Content-Type', 'application/octet-stream');
    xhr.setRequestHeader('Accept', 'application/json');
    xhr.upload.onprogress = (e) => e.lengthComputable && progress(e.loaded / e.total);
    xhr.onerror = () => reject(new ApiError(0, 'unreachable', ''));
    xhr.onabort = () => reject(new DOMException('aborted', 'AbortError'));
    xhr.onload = () => {
      if (xhr.status >= 200 && xhr.status < 300) resolve(JSON.parse(xhr.responseText) as T);
      else reject(refusal(xhr.status, xhr.responseText));
    };
    signal?.addEventListener('abort', () => xhr.abort());
    xhr.send(file);
  });
}

/** Fetches a file and hands it to the browser to keep; an error stays an error and is not saved as a file. */
export async function download(path: string, filename: string): Promise<void> {
  const res = await request('GET', path, { headers: { Accept: 'application/octet-stream, application/json;q=0.1' } });
  const url = URL.createObjectURL(await res.blob());
  const a = document.createElement('a');
  a.href = url;
  a.download = filename;
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
