import { Button, Modal, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useRef, useState, type DragEvent } from 'react';
import { Link } from 'react-router';
import { part, query, upload } from '../../api/client';
import { useModels } from '../../api/queries';
import type { Version } from '../../api/types';
import { bytes, percent } from '../../format';
import { useT } from '../../i18n';
import { Check, Upload } from '../../ui/icons';
import { Bar, Problem } from '../../ui/parts';

/** Takes files that are dropped on an element. */
export function useDrop(take: (files: File[]) => void) {
  const [over, setOver] = useState(false);
  const deep = useRef(0);
  const carries = (e: DragEvent) => e.dataTransfer.types.includes('Files');
  return {
    over,
    handlers: {
      onDragEnter: (e: DragEvent) => { if (carries(e)) { e.preventDefault(); deep.current++; setOver(true); } },
      onDragOver: (e: DragEvent) => { if (carries(e)) e.preventDefault(); },
      onDragLeave: () => { deep.current = Math.max(0, deep.current - 1); if (!deep.current) setOver(false); },
      onDrop: (e: DragEvent) => {
        if (!carries(e)) return;
        e.preventDefault();
        deep.current = 0;
        setOver(false);
        take([...e.dataTransfer.files]);
      },
    },
  };
}

/** A model's name from a file's: what registry names may not have becomes a hyphen. */
export const nameFrom = (file: string) => file.replace(/\.(h5|hdf5|keras|onnx)$/i, '').replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[-._]+|[-._]+$/g, '') || 'model';

/** Sends a Keras or ONNX file into the registry, where it becomes a new version. */
export function UploadDialog({ files, name: given, close }: { files: File[]; name?: string; close: () => void }) {
  const { t, lang } = useT();
  const client = useQueryClient();
  const names = (useModels().data?.items ?? []).map((m) => m.name);
  const [file, setFile] = useState<File | undefined>(files[0]);
  const [name, setName] = useState(given ?? (files[0] ? nameFrom(files[0].name) : ''));
  const [sent, setSent] = useState<number>();
  const [error, setError] = useState<unknown>();
  const [made, setMade] = useState<Version>();
  const input = useRef<HTMLInputElement>(null);
  const stop = useRef<AbortController>(undefined);
  const choose = (f: File | undefined) => {
    if (!f) return;
    setFile(f);
    setError(undefined);
    if (!given && !name) setName(nameFrom(f.name));
  };
  const { over, handlers } = useDrop((dropped) => choose(dropped[0]));

  const send = async () => {
    if (!file) return;
    stop.current = new AbortController();
    setError(undefined);
    setSent(0);
    try {
      setMade(await upload<Version>(query(`/models/${part(name)}/versions`, { filename: file.name }), file, setSent, stop.current.signal));
      void client.invalidateQueries({ queryKey: ['models'] });
      void client.invalidateQueries({ queryKey: ['model', name] });
    } catch (err) {
      if (!stop.current.signal.aborted) setError(err);
    } finally {
      setSent(undefined);
    }
  };
  const leave = () => { stop.current?.abort(); close(); };
  return (
    <Modal opened onClose={leave} title={t('upload.title')} closeButtonProps={{ 'aria-label': t('close') }}>
      {made ? (
        <>
          <div className="problem good" role="status"><Check size={16} /><p>{t('upload.done', { name: made.model, version: made.version })}</p></div>
          <div className="dialog-foot"><Button component={Link} to={`/models/${encodeURIComponent(made.model)}`} onClick={close}>{t('open')}</Button></div>
        </>
      ) : (
        <form onSubmit={(e) => { e.preventDefault(); void send(); }}>
          <button type="button" data-autofocus className={over ? 'dropzone over' : 'dropzone'} onClick={() => input.current?.click()} {...handlers}>
            <Upload size={20} />
            {file ? <span className="break"><b>{file.name}</b> <span className="dim num">{bytes(file.size, lang)}</span></span> : <span>{t('upload.drop')}</span>}
            <span className="dim">{t('upload.formats')}</span>
          </button>
          <input ref={input} type="file" accept=".h5,.hdf5,.keras,.onnx" hidden aria-label={t('upload.file')} onChange={(e) => choose(e.currentTarget.files?.[0])} />
          <TextInput mt={12} label={t('upload.name')} required disabled={!!given} value={name} onChange={(e) => setName(e.currentTarget.value)} pattern="[A-Za-z0-9][A-Za-z0-9._\-]*" />
          <p className="dim" style={{ margin: '6px 0 0', minHeight: 19 }}>{name && (names.includes(name) ? t('upload.new_version', { name }) : t('upload.new_model', { name }))}</p>
          {error !== undefined && <div style={{ marginTop: 10 }}><Problem error={error} /></div>}
          <div className="dialog-foot">
            <span className="row grow" style={{ visibility: sent === undefined ? 'hidden' : 'visible' }}><Bar wide fraction={sent ?? 0} label={t('upload.progress')} /><span className="num dim">{percent(sent ?? 0, lang)}</span></span>
            <Button variant="default" onClick={leave}>{t('keep.not')}</Button>
            <Button type="submit" disabled={!file || !name} loading={sent !== undefined}>{t('upload')}</Button>
          </div>
        </form>
      )}
    </Modal>
  );
}
