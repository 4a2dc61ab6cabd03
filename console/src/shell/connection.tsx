import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { applier } from '../api/queries';
import { follow, type Connection } from '../api/stream';
import { useT } from '../i18n';

/** Holds the page's one stream while the shell is shown, and says how it is. */
export function useStream(): Connection {
  const client = useQueryClient();
  const [state, setState] = useState<Connection>('connecting');
  useEffect(() => follow({
    event: applier(client),
    resumed: () => void client.invalidateQueries({ predicate: (q) => q.queryKey[0] !== 'session' }),
    state: setState,
    refused: () => client.setQueryData(['session'], null),
  }), [client]);
  return state;
}

export function Live({ state }: { state: Connection }) {
  const { t } = useT();
  const word = state === 'live' ? t('live') : state === 'connecting' ? t('connecting') : t('reconnecting');
  return <div className={state === 'live' ? 'live' : 'live away'} role="status" title={word} aria-label={word}><i /><span>{word}</span></div>;
}
