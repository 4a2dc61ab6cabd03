import { QueryClient, keepPreviousData, useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { ApiError, call, get, part, query } from './client';
import type { Action, Entry, Event, Job, JobState, List, Me, Metric, Model, ModelDetail, Node, Overview, Plan, Policy, Service, Why, Use } from './types';

export function newClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        // The stream says what changed; a slow second look covers what it does not tell.
        staleTime: 15_000,
        refetchOnWindowFocus: true,
        retry: (count, err) => count < 2 && !(err instanceof ApiError && err.status >= 400 && err.status < 500),
      },
    },
  });
}

export const useMe = () =>
  useQuery({
    queryKey: ['session'],
    queryFn: async () => {
      try {
        return await get<Me>('/session');
      } catch (err) {
        if (err instanceof ApiError && err.status === 401) return null;
        throw err;
      }
    },
    staleTime: Infinity,
  });

export const useOverview = () => useQuery({ queryKey: ['overview'], queryFn: ({ signal }) => get<Overview>('/overview', signal), refetchInterval: 5000 });

const pageSize = 100;

/** The jobs, newest first, page by page: each array as one line, or the jobs of one array. */
export const useJobs = (state: JobState | '', array = 0) =>
  useInfiniteQuery({
    queryKey: ['jobs', state, array],
    queryFn: ({ pageParam, signal }) => get<List<Job>>(query('/jobs', { state, ...(array ? { array } : { fold: 'true' }), limit: pageSize, after: pageParam }), signal),
    initialPageParam: '',
    getNextPageParam: (page) => page.next || undefined,
    placeholderData: keepPreviousData,
  });

export const useJob = (id: number) => useQuery({ queryKey: ['job', id], queryFn: ({ signal }) => get<Job>(`/jobs/${id}`, signal) });
export const useWhy = (id: number) => useQuery({ queryKey: ['why', id], queryFn: ({ signal }) => get<Why>(`/jobs/${id}/why`, signal) });
/** What the running tasks use, measured anew every half second by the machine. */
export const useUsage = (id: number, running: boolean) => useQuery({ queryKey: ['usage', id], enabled: running, queryFn: ({ signal }) => get<{ items: Use[] }>(`/jobs/${id}/usage`, signal), refetchInterval: 2_000 });
export const useFleet = () => useQuery({ queryKey: ['fleet'], queryFn: ({ signal }) => get<List<Node>>('/fleet', signal), refetchInterval: 15_000 });
export const usePlan = () => useQuery({ queryKey: ['plan'], queryFn: ({ signal }) => get<Plan>('/plan', signal), refetchInterval: 15_000 });

/** All points of a job so far. A later look asks only for what came after the last one. */
export function useMetrics(id: number) {
  const client = useQueryClient();
  return useQuery({
    queryKey: ['metrics', id],
    queryFn: async ({ signal }) => {
      const had = client.getQueryData<Metric[]>(['metrics', id]) ?? [];
      const fresh: Metric[] = [];
      let after = had.at(-1)?.seq ?? 0;
      for (;;) {
        const page = await get<List<Metric>>(query(`/jobs/${id}/metrics`, { after, limit: 5000 }), signal);
        const items = page.items ?? [];
        fresh.push(...items);
        const last = items.at(-1)?.seq ?? after;
        if (!page.next || last === after) break;
        after = last;
      }
      return fresh.length ? [...had, ...fresh] : had;
    },
    structuralSharing: false,
  });
}

export const useModels = () => useQuery({ queryKey: ['models'], queryFn: ({ signal }) => get<List<Model>>(query('/models', { limit: 1000 }), signal) });
export const useModel = (name: string) => useQuery({ queryKey: ['model', name], queryFn: ({ signal }) => get<ModelDetail>(`/models/${part(name)}`, signal) });
export const useServices = () =>
  useQuery({ queryKey: ['services'], queryFn: ({ signal }) => get<List<Service>>('/services', signal), refetchInterval: 2000 });
export const useActions = () => useQuery({ queryKey: ['actions'], queryFn: ({ signal }) => get<List<Action>>(query('/actions', { limit: 20 }), signal) });
export const usePolicies = () => useQuery({ queryKey: ['policies'], queryFn: ({ signal }) => get<List<Policy>>('/policies', signal) });

export const useAudit = (actor: string, action: string) =>
  useInfiniteQuery({
    queryKey: ['audit', actor, action],
    queryFn: ({ pageParam, signal }) => get<List<Entry>>(query('/audit', { actor, action, before: pageParam || undefined, limit: pageSize }), signal),
    initialPageParam: 0,
    getNextPageParam: (page) => Number(page.next) || undefined,
    placeholderData: keepPreviousData,
  });

/** Predicts with the version that has the number, or with the one that the server takes when none is named. */
export const predict = (model: string, version: number | undefined, body: unknown, signal?: AbortSignal) =>
  call<{ predictions?: unknown; outputs?: unknown }>('POST', query(`/services/${part(model)}/predict`, { version }), { json: body, ...(signal && { signal }) });

const isJob = (data: unknown): data is Job => typeof data === 'object' && data !== null && 'id' in data && 'state' in data && 'spec' in data;

type Pages<T> = { pages: List<T>[]; pageParams: unknown[] };

/** Puts a job's new record in its place in a list, or at its head when it is new and belongs there. */
export function putJob(old: Pages<Job> | undefined, j: Job, state: JobState | '', array = 0): Pages<Job> | undefined {
  // How many of an array are in each state is asked for again; a line of its own a member has only in its array's list.
  if (!old || (j.array && !array) || (array && j.array?.id !== array)) return old;
  let found = false;
  const pages = old.pages.map((page) => ({
    ...page,
    items: (page.items ?? []).flatMap((have) => {
      if (have.id !== j.id) return [have];
      found = true;
      return state === '' || j.state === state ? [j] : [];
    }),
  }));
  const first = pages[0];
  if (!found && first && (state === '' || j.state === state)) {
    const items = [...(first.items ?? []), j].sort((a, b) => b.id - a.id);
    // One older than the whole page belongs to a later one.
    if (!first.next || items.at(-1) !== j) pages[0] = { ...first, items };
  }
  return { ...old, pages };
}

/** Updates the caches by what the stream tells. Invalidations are gathered, so that a burst costs one look. */
export function applier(client: QueryClient, wait = 400) {
  const due = new Map<string, unknown[]>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let replan: ReturnType<typeof setTimeout> | undefined;
  // A plan is of the whole hall and is read at most once a second, however many jobs change.
  const plan = () => {
    replan ??= setTimeout(() => {
      replan = undefined;
      void client.invalidateQueries({ queryKey: ['plan'] });
    }, Math.max(wait, 1000));
  };
  const stale = (...key: unknown[]) => {
    due.set(JSON.stringify(key), key);
    timer ??= setTimeout(() => {
      timer = undefined;
      const keys = [...due.values()];
      due.clear();
      for (const queryKey of keys) void client.invalidateQueries({ queryKey });
    }, wait);
  };
  return (e: Event) => {
    const quiet = e.kind.endsWith('.progress');
    switch (e.topic) {
      case 'jobs':
        if (isJob(e.data)) {
          const j = e.data;
          client.setQueryData<Job>(['job', j.id], (old) => (old ? j : old));
          for (const [key] of client.getQueriesData({ queryKey: ['jobs'] })) {
            client.setQueryData<Pages<Job>>(key, (old) => putJob(old, j, (key[1] as JobState) ?? '', (key[2] as number) ?? 0));
          }
          stale('metrics', j.id);
          if (!quiet) {
            // An answer that was on its way may be older than this event and come after it: look again.
            stale('job', j.id);
            stale('jobs');
            stale('why', j.id);
            plan();
          }
        } else if (!quiet) {
          plan();
          stale('jobs');
          stale('job');
        }
        break;
      case 'fleet': stale('fleet'); plan(); break;
      case 'models': stale('models'); stale('model'); break;
      case 'services': stale('services'); stale('models'); break;
      case 'actions': stale('actions'); stale('policies'); break;
    }
    if (!quiet) {
      stale('overview');
      stale('audit');
    }
  };
}
