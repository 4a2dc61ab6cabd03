// Runs before the first paint, so that neither the theme nor the language changes under the reader's eyes.
(function () {
  var root = document.documentElement;
  var get = function (key) { try { return localStorage.getItem(key); } catch (e) { return null; } };
  var theme = get('lineshaft.theme');
  if (theme !== 'light' && theme !== 'dark') {
    theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  }
  root.setAttribute('data-mantine-color-scheme', theme);
  var language = get('lineshaft.language') || navigator.language || 'en';
  root.lang = language.toLowerCase().indexOf('zh') === 0 ? 'zh-CN' : 'en';
})();
