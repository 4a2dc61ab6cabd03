import { Button } from '@mantine/core';
import { useState } from 'react';
import { predict } from '../../api/queries';
import { number } from '../../format';
import { useT } from '../../i18n';
import { Command, Problem } from '../../ui/parts';
import { examples, picture, pixels } from './digits';

/** Sends a predict request as it is written and shows the answer as it comes. */
export function TryJson({ model, version, start }: { model: string; version: number | undefined; start?: string | undefined }) {
  const { t, lang } = useT();
  const [text, setText] = useState(() => start ?? JSON.stringify({ instances: [pixels(picture(examples[3]!))] }));
  const [answer, setAnswer] = useState<{ text: string; ms: number }>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const send = async () => {
    setBusy(true);
    setError(undefined);
    setAnswer(undefined);
    const start = performance.now();
    try {
      const res = await predict(model, version, JSON.parse(text));
      setAnswer({ text: JSON.stringify(res, null, 2), ms: performance.now() - start });
    } catch (err) {
      setError(err instanceof SyntaxError ? new Error(t('try.not_json', { message: err.message })) : err);
    } finally {
      setBusy(false);
    }
  };
  return (
    <div className="try">
      <textarea className="field" rows={9} value={text} onChange={(e) => setText(e.currentTarget.value)} aria-label={t('try.request')} spellCheck={false} />
      <div className="row wrap">
        <Button loading={busy} onClick={() => void send()}>{t('send')}</Button>
        {answer && <span className="dim num">{number(answer.ms, lang, 1)} ms</span>}
      </div>
      {error !== undefined && <Problem error={error} />}
      <pre className="code field" tabIndex={0} aria-label={t('try.answer')}>{answer?.text ?? <span className="dim">{t('try.answer')}</span>}</pre>
      <div><p className="dim" style={{ marginBottom: 5 }}>{t('try.curl')}</p><Command text={`curl -d '{"instances": […]}' http://localhost:8501/v1/models/${model}${version ? `/versions/${version}` : ''}:predict`} /></div>
    </div>
  );
}
