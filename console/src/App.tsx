import { MantineProvider, localStorageColorSchemeManager } from '@mantine/core';
import { Notifications } from '@mantine/notifications';
import { QueryClientProvider } from '@tanstack/react-query';
import { Component, Suspense, lazy, useEffect, useState, type ReactNode } from 'react';
import { BrowserRouter, Navigate, Route, Routes, useLocation } from 'react-router';
import { onSignedOut } from './api/client';
import { newClient, useMe } from './api/queries';
import { useT } from './i18n';
import { Shell } from './shell/Shell';
import { theme, variables } from './theme';
import { Problem, Skeleton } from './ui/parts';

const SignIn = lazy(() => import('./pages/SignIn'));
const Overview = lazy(() => import('./pages/Overview'));
const Jobs = lazy(() => import('./pages/Jobs'));
const Job = lazy(() => import('./pages/Job'));
const Submit = lazy(() => import('./pages/Submit'));
const Models = lazy(() => import('./pages/Models'));
const Model = lazy(() => import('./pages/Model'));
const Serving = lazy(() => import('./pages/Serving'));
const Service = lazy(() => import('./pages/Service'));
const Fleet = lazy(() => import('./pages/Fleet'));
const Audit = lazy(() => import('./pages/Audit'));

const scheme = localStorageColorSchemeManager({ key: 'lineshaft.theme' });
/** The server gives every page a fresh nonce; styles made at run time carry it. */
const nonce = () => document.querySelector<HTMLMetaElement>('meta[property=csp-nonce]')?.nonce ?? '';

export function App() {
  const [client] = useState(newClient);
  useEffect(() => onSignedOut(() => client.setQueryData(['session'], null)), [client]);
  return (
    <MantineProvider theme={theme} cssVariablesResolver={variables} colorSchemeManager={scheme} defaultColorScheme="auto" getStyleNonce={nonce}>
      <Notifications position="bottom-right" limit={4} />
      <QueryClientProvider client={client}>
        <BrowserRouter>
          <Routes>
            <Route path="/signin" element={<Page><SignIn /></Page>} />
            <Route path="*" element={<Signed />} />
          </Routes>
        </BrowserRouter>
      </QueryClientProvider>
    </MantineProvider>
  );
}

/** The pages of someone who is signed in; others are sent to sign in and come back to where they were. */
function Signed() {
  const { data: me, error, refetch, isPending } = useMe();
  const { pathname } = useLocation();
  if (isPending) return null;
  if (error) return <div style={{ maxWidth: 560, margin: '20vh auto', padding: '0 16px' }}><Problem error={error} retry={() => void refetch()} /></div>;
  if (!me) return <Navigate to="/signin" state={{ from: pathname }} replace />;
  return (
    <Shell me={me}>
      <Page key={pathname.split('/')[1]}>
        <Routes>
          <Route path="/" element={<Overview />} />
          <Route path="/jobs" element={<Jobs />} />
          <Route path="/jobs/new" element={<Submit />} />
          <Route path="/jobs/:id" element={<Job />} />
          <Route path="/models" element={<Models />} />
          <Route path="/models/:name" element={<Model />} />
          <Route path="/serving" element={<Serving />} />
          <Route path="/serving/:name" element={<Service />} />
          <Route path="/fleet" element={<Fleet />} />
          <Route path="/audit" element={<Audit />} />
          <Route path="*" element={<Missing />} />
        </Routes>
      </Page>
    </Shell>
  );
}

function Missing() {
  const { t } = useT();
  return <div className="card"><div className="empty"><p>{t('page.missing')}</p></div></div>;
}

function Page({ children }: { children: ReactNode }) {
  return <Broken><Suspense fallback={<div style={{ height: 400 }}><Skeleton height={72} /></div>}>{children}</Suspense></Broken>;
}

/** A fault of a page stays in the page: the shell goes on. */
class Broken extends Component<{ children: ReactNode }, { error?: unknown }> {
  override state: { error?: unknown } = {};
  static getDerivedStateFromError(error: unknown) { return { error }; }
  override render() {
    // A page that was loaded before an upgrade asks for files that are gone: loading the page again heals it.
    return 'error' in this.state ? <div><Problem error={this.state.error} retry={() => location.reload()} /></div> : this.props.children;
  }
}
