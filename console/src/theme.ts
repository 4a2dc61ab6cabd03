import { Button, Drawer, Menu, Modal, Tooltip, createTheme, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core';

const teal: MantineColorsTuple = ['#eef8f6', '#d9efea', '#b3ddd4', '#86c7bb', '#3cc4b2', '#2fa294', '#1d7d72', '#0b6e66', '#0a544d', '#073b36'];
const red: MantineColorsTuple = ['#fdf0ef', '#f9dad8', '#f3b3af', '#f4736b', '#f4736b', '#dc4a42', '#cf3a32', '#c22f28', '#a02620', '#7d1d18'];
const dark: MantineColorsTuple = ['#e8e9ea', '#a0a6ad', '#8f969e', '#656c73', '#33393e', '#262a2e', '#1f2326', '#16191c', '#0f1113', '#0a0b0d'];

export const theme = createTheme({
  colors: { teal, red, dark },
  primaryColor: 'teal',
  primaryShade: { light: 7, dark: 4 },
  autoContrast: true,
  luminanceThreshold: 0.35,
  defaultRadius: 6,
  fontFamily: 'var(--sans)',
  fontFamilyMonospace: 'var(--mono)',
  headings: { fontFamily: 'var(--sans)', fontWeight: '580' },
  fontSizes: { xs: '12px', sm: '13px', md: '13px', lg: '15px', xl: '18px' },
  respectReducedMotion: true,
  components: {
    Button: Button.extend({ defaultProps: { size: 'compact-sm' }, styles: { root: { height: 28, fontWeight: 540, paddingInline: 11 } } }),
    Modal: Modal.extend({ defaultProps: { lockScroll: false, overlayProps: { backgroundOpacity: 0.35 }, transitionProps: { duration: 120 } } }),
    Drawer: Drawer.extend({ defaultProps: { lockScroll: false, overlayProps: { backgroundOpacity: 0.3 }, transitionProps: { duration: 150 } } }),
    Menu: Menu.extend({ defaultProps: { transitionProps: { duration: 80 } } }),
    Tooltip: Tooltip.extend({ defaultProps: { openDelay: 300, transitionProps: { duration: 80 } } }),
  },
});

/** Mantine's own variables follow the tokens, so that there is one place for a colour. */
export const variables: CSSVariablesResolver = () => ({
  variables: {
    '--mantine-color-body': 'var(--panel)', '--mantine-color-text': 'var(--ink)', '--mantine-color-dimmed': 'var(--ink2)',
    '--mantine-color-default': 'var(--panel)', '--mantine-color-default-hover': 'var(--line2)', '--mantine-color-default-color': 'var(--ink)',
    '--mantine-color-default-border': 'var(--line)', '--mantine-color-placeholder': 'var(--ink3)', '--mantine-color-error': 'var(--bad)',
    '--mantine-color-anchor': 'var(--accent)',
  },
  light: {},
  dark: {},
});
