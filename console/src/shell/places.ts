import type { ComponentType } from 'react';
import type { Key } from '../i18n';
import { Audit, Fleet, Home, Jobs, Models, Serving } from '../ui/icons';

export interface Place { path: string; key: Key; icon: ComponentType<{ size?: number }>; go: string; group: Key }

/** The pages, in the order of the navigation; `go` is the letter after g. */
export const places: Place[] = [
  { path: '/', key: 'nav.overview', icon: Home, go: 'o', group: 'nav.operate' },
  { path: '/jobs', key: 'nav.jobs', icon: Jobs, go: 'j', group: 'nav.operate' },
  { path: '/fleet', key: 'nav.fleet', icon: Fleet, go: 'f', group: 'nav.operate' },
  { path: '/models', key: 'nav.models', icon: Models, go: 'm', group: 'nav.build' },
  { path: '/serving', key: 'nav.serving', icon: Serving, go: 's', group: 'nav.build' },
  { path: '/audit', key: 'nav.audit', icon: Audit, go: 'a', group: 'nav.trust' },
];

export const placeOf = (path: string): Place | undefined => places.find((p) => (p.path === '/' ? path === '/' : path === p.path || path.startsWith(p.path + '/')));
