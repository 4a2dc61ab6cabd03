import i18next from 'i18next';
import { initReactI18next, useTranslation } from 'react-i18next';
import type { en } from './en';

export type Language = 'en' | 'zh';
type Base<K> = K extends `${infer B}_one` | `${infer B}_other` ? B : K;
/** Every sentence of the console by its name. */
export type Key = Base<keyof typeof en>;
export type T = (key: Key, vars?: Record<string, string | number>) => string;

const loaders = {
  en: () => import('./en').then((m) => m.en),
  zh: () => import('./zh').then((m) => m.zh),
};

export function storedLanguage(): Language {
  return document.documentElement.lang.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

/** Loads the language, and only that one. */
export async function startLanguage(lang: Language): Promise<void> {
  await i18next
    .use({
      type: 'backend' as const,
      init() {},
      read(language: Language, _: string, done: (err: unknown, data: object | null) => void) {
        loaders[language]().then((data) => done(null, data), (err) => done(err, null));
      },
    })
    .use(initReactI18next)
    .init({
      lng: lang, fallbackLng: false, supportedLngs: ['en', 'zh'], keySeparator: false, nsSeparator: false,
      interpolation: { escapeValue: false, prefix: '{', suffix: '}' }, react: { useSuspense: false },
    });
}

export async function setLanguage(lang: Language): Promise<void> {
  await i18next.changeLanguage(lang);
  document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en';
  try { localStorage.setItem('lineshaft.language', lang); } catch { /* private mode: for this page only */ }
}

/** The sentence maker and the language for Intl. */
export function useT(): { t: T; lang: string; language: Language } {
  const { t, i18n } = useTranslation();
  const language: Language = i18n.language === 'zh' ? 'zh' : 'en';
  return { t: t as T, lang: language === 'zh' ? 'zh-CN' : 'en', language };
}
