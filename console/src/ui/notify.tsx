import { notifications } from '@mantine/notifications';
import type { T } from '../i18n';
import { words } from './words';

/** Short news at the page's edge. Failures stay until they are read. */
export const done = (message: string) => notifications.show({ message, autoClose: 4000, withBorder: true });
export const failed = (t: T, err: unknown) => notifications.show({ title: t('error.title'), message: words(t, err), color: 'red', autoClose: 12_000, withBorder: true });
