import { Button, Modal } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { post } from '../../api/client';
import type { Job, JobState, Member } from '../../api/types';
import { number } from '../../format';
import { useT, type T } from '../../i18n';
import { Stop } from '../../ui/icons';
import { done, failed } from '../../ui/notify';
import { jobState } from '../../ui/words';

const order: JobState[] = ['running', 'starting', 'stopping', 'queued', 'failed', 'canceled', 'succeeded'];

/** The state of an array in one word: what still goes on, else the worst end. */
export const state = (m: Member): JobState => order.find((s) => m.members?.[s]) ?? 'queued';

/** How many of its jobs are in which state. */
export const counts = (m: Member, t: T, lang: string): string =>
  order.filter((s) => m.members?.[s]).map((s) => `${t(jobState[s])} ${number(m.members![s], lang)}`).join(' · ');

/** The variables that a member has for its own. */
export function values(j: Job): [string, string][] {
  let index = j.array?.index ?? 0;
  return Object.entries(j.spec.array?.over ?? {}).sort(([a], [b]) => (a < b ? 1 : -1)).map(([name, list]): [string, string] => {
    const at = index % list.length;
    index = Math.floor(index / list.length);
    return [name, String(list[at])];
  }).reverse();
}

/** Ends all jobs of an array, after a question. */
export function CancelArray({ id }: { id: number }) {
  const { t } = useT();
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const act = useMutation({
    mutationFn: () => post(`/arrays/${id}/cancel`),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: ['jobs'] });
      void client.invalidateQueries({ queryKey: ['job'] });
      done(t('array.cancel.done', { id }));
    },
    onError: (err) => failed(t, err),
    onSettled: () => setAsking(false),
  });
  return (
    <>
      <Button variant="default" leftSection={<Stop size={14} />} onClick={() => setAsking(true)}>{t('array.cancel')}</Button>
      <Modal opened={asking} onClose={() => setAsking(false)} title={t('array.cancel.title', { id })} closeButtonProps={{ 'aria-label': t('close') }}>
        <p>{t('array.cancel.text')}</p>
        <div className="dialog-foot">
          <Button variant="default" onClick={() => setAsking(false)}>{t('keep')}</Button>
          <Button color="red" loading={act.isPending} onClick={() => act.mutate()}>{t('array.cancel')}</Button>
        </div>
      </Modal>
    </>
  );
}
