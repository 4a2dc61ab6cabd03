import { useEffect, useRef } from 'react';
import { places } from './places';

interface Actions { palette: () => void; help: () => void; go: (path: string) => void }

/** True where a letter is text and not a command. */
function typing(e: KeyboardEvent): boolean {
  const el = e.target as HTMLElement | null;
  return !!el?.closest?.('input, textarea, select, [contenteditable=true], [role=dialog]');
}

/** The keys that work everywhere: Ctrl-K or ⌘K, /, ?, and g followed by a page's letter. */
export function useKeys(actions: Actions) {
  const now = useRef(actions);
  now.current = actions;
  useEffect(() => {
    let g = 0; // when g was pressed
    const down = (e: KeyboardEvent) => {
      if ((e.metaKey || e.ctrlKey) && !e.altKey && e.key.toLowerCase() === 'k') {
        e.preventDefault();
        now.current.palette();
        return;
      }
      if (e.metaKey || e.ctrlKey || e.altKey || e.isComposing || typing(e)) return;
      if (Date.now() - g < 1500) {
        g = 0;
        const place = places.find((p) => p.go === e.key);
        if (place) {
          e.preventDefault();
          now.current.go(place.path);
          return;
        }
      }
      if (e.key === 'g') g = Date.now();
      else if (e.key === '?') now.current.help();
      else if (e.key === '/') {
        e.preventDefault();
        now.current.palette();
      } else if (e.key === 'c') now.current.go('/jobs/new');
    };
    document.addEventListener('keydown', down);
    return () => document.removeEventListener('keydown', down);
  }, []);
}
