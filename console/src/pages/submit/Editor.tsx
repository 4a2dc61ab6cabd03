import { useEffect, useRef, type KeyboardEvent } from 'react';
import { useT } from '../../i18n';

export interface Place { line: number; column: number }

/** Finds "line 4, column 3" in what the server says. */
export function placeIn(message: string): Place | undefined {
  const m = /line (\d+), column (\d+)/.exec(message);
  return m ? { line: Number(m[1]), column: Number(m[2]) } : undefined;
}

/** A text field with numbered lines, of which one may be marked. */
export function Editor({ text, change, submit, place }: { text: string; change: (text: string) => void; submit: () => void; place?: Place }) {
  const { t } = useT();
  const area = useRef<HTMLTextAreaElement>(null);
  const gutter = useRef<HTMLDivElement>(null);
  const lines = text.split('\n').length;
  useEffect(() => { if (gutter.current && area.current) gutter.current.scrollTop = area.current.scrollTop; }, [lines]);

  const key = (e: KeyboardEvent<HTMLTextAreaElement>) => {
    if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) {
      e.preventDefault();
      submit();
    } else if (e.key === 'Enter' && !e.nativeEvent.isComposing) {
      // A new line starts where the last one did: YAML is written that way.
      const el = e.currentTarget;
      const start = text.lastIndexOf('\n', el.selectionStart - 1) + 1;
      const indent = /^ */.exec(text.slice(start, el.selectionStart))![0];
      if (!indent) return;
      e.preventDefault();
      el.setRangeText(`\n${indent}`, el.selectionStart, el.selectionEnd, 'end');
      change(el.value);
    }
  };
  return (
    <div className="editor">
      <div className="gutter" ref={gutter} aria-hidden="true">
        {Array.from({ length: lines }, (_, i) => <div key={i} className={place?.line === i + 1 ? 'here' : ''}>{place?.line === i + 1 ? '▸ ' : ''}{i + 1}</div>)}
      </div>
      <textarea
        ref={area} value={text} onChange={(e) => change(e.currentTarget.value)} onKeyDown={key} spellCheck={false} autoCapitalize="off" autoCorrect="off" wrap="off"
        onScroll={(e) => { if (gutter.current) gutter.current.scrollTop = e.currentTarget.scrollTop; }}
        aria-label={t('submit.spec')} aria-invalid={!!place}
      />
    </div>
  );
}
