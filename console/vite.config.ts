/// <reference types="vitest/config" />
import { gzipSync } from 'node:zlib';
import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin } from 'vite';

/** Puts a .gz beside every text asset, so that the server need not compress. */
function gzip(): Plugin {
  return {
    name: 'gzip',
    apply: 'build',
    generateBundle: {
      order: 'post',
      handler(_, bundle) {
        for (const [fileName, item] of Object.entries(bundle)) {
          const source = item.type === 'chunk' ? item.code : item.source;
          if (/\.(js|css|svg)$/.test(fileName) && source.length > 1024) {
            this.emitFile({ type: 'asset', fileName: fileName + '.gz', source: gzipSync(source, { level: 9 }) });
          }
        }
      },
    },
  };
}

// `npm run dev` shows the console over a server that runs: bin/lineshaft up, or dev/mock.mjs.
const server = process.env.LINESHAFT_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [react(), gzip()],
  html: { cspNonce: '__NONCE__' },
  server: { proxy: { '/api': { target: server, changeOrigin: true } } },
  build: { license: { fileName: 'licenses.md' }, target: 'es2022', assetsInlineLimit: 0, chunkSizeWarningLimit: 700, emptyOutDir: true, reportCompressedSize: false },
  test: { environment: 'jsdom', include: ['test/**/*.test.{ts,tsx}'], setupFiles: ['test/setup.ts'], testTimeout: 60_000 },
});
