import { createRoot } from 'react-dom/client';
import './styles/layers.css';
import { App } from './App';
import { startLanguage, storedLanguage } from './i18n';

// Mantine's scroll lock makes a style element and looks for the page's nonce under this name.
Object.assign(window, { __webpack_nonce__: document.querySelector<HTMLMetaElement>('meta[property=csp-nonce]')?.nonce });

void startLanguage(storedLanguage()).then(() => createRoot(document.getElementById('root')!).render(<App />));
