import { createRoot } from 'react-dom/client';
import './styles/layers.css';
import { App } from './App';
import { startLanguage, storedLanguage } from './i18n';

void startLanguage(storedLanguage()).then(() => createRoot(document.getElementById('root')!).render(<App />));
