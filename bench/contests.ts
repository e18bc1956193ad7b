/** What is measured beside what. Every command is a line for `bash`, as a reader would type it. */

/** A command and the file or folder it makes. */
export interface Side {
  /** With `$HEXZ`, `$SRC` and `$OUT`, the folder for what is made. */
  readonly command: string
  /** What it makes, under `$OUT`. */
  readonly made: string
  /** Run before each turn, not measured. */
  readonly prepare?: string
  /** Run once before the first turn, not measured. */
  readonly setUp?: string
}

/** Largest ratio ours / theirs that is wanted, by figure; medians of the ratios pair by pair. */
export type Marks = Partial<Record<'wall' | 'size' | 'peak', number>>

export interface Contest {
  readonly title: string
  /** Name of the corpus file. */
  readonly source: string
  /** Program that must be installed for the peer's side; `hexz` when both sides are ours. */
  readonly peer: string
  readonly ours: Side
  readonly theirs: Side
  readonly marks: Marks
}

const build = (flags: string, name = 'a.st'): Side => ({
  command: `$HEXZ build $SRC ${flags} -o $OUT/${name} --force --progress none`,
  made: name
})
const lz4: Side = { command: 'lz4 -1 -qf $SRC $OUT/a.lz4', made: 'a.lz4' }
const zstd: Side = { command: 'zstd -3 -T0 -qf $SRC -o $OUT/a.zst', made: 'a.zst' }
const squashfs = (codec: string, blockSize: string): Side => ({
  command: `mksquashfs $SRC $OUT/a.sqfs -comp ${codec} -b ${blockSize} -noappend -quiet -no-progress`,
  made: 'a.sqfs'
})
const restic: Side = {
  prepare: 'rm -rf $OUT/restic; RESTIC_PASSWORD=x restic init -q --no-cache -r $OUT/restic',
  command: 'RESTIC_PASSWORD=x restic backup -q --no-cache -r $OUT/restic $SRC',
  made: 'restic'
}
const borg: Side = {
  prepare: 'rm -rf $OUT/borg; BORG_PASSPHRASE=x borg init -e repokey-blake2 $OUT/borg',
  command: 'BORG_PASSPHRASE=x borg create $OUT/borg::a $SRC',
  made: 'borg'
}
const casync: Side = {
  prepare: 'rm -rf $OUT/store.castr',
  command: 'casync make --store=$OUT/store.castr $OUT/a.caibx $SRC',
  made: 'store.castr'
}
const qcow2: Side = {
  command: 'qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd $SRC $OUT/a.qcow2',
  made: 'a.qcow2'
}
const copy: Side = { command: 'cp --reflink=never --sparse=never $SRC $OUT/copy', made: 'copy' }

/** Getting the source back out of what `packed` made. */
const restore = (packed: Side, made: string, command: string): Side => ({
  setUp: packed.command,
  command: `${command} $OUT/${made}`,
  made
})
const extract = (flags: string): Side => ({
  ...restore(build(flags), 'ours', '$HEXZ extract $OUT/a.st --progress none -o'),
  prepare: 'rm -f $OUT/ours'
})
const plain = build('-p generic', 'b.st')
const encrypted: Side = {
  command: `HEXZ_PASSPHRASE=x ${build('-p generic --encrypt').command}`,
  made: 'a.st'
}

export const contests: readonly Contest[] = [
  ...['vm.img', 'fw.img'].flatMap((source): Contest[] => [
    { title: 'generic', source, peer: 'lz4', ours: build('-p generic'), theirs: lz4, marks: { wall: 0.6 } },
    {
      title: 'generic',
      source,
      peer: 'mksquashfs',
      ours: build('-p generic'),
      theirs: squashfs('lz4', '64K'),
      marks: { wall: 1, peak: 0.25 }
    }
  ]),
  {
    title: 'eda',
    source: 'eda.tar',
    peer: 'zstd',
    ours: build('-p eda'),
    theirs: zstd,
    marks: { wall: 1 }
  },
  {
    title: 'eda --cdc',
    source: 'eda.tar',
    peer: 'zstd',
    ours: build('-p eda --cdc'),
    theirs: zstd,
    marks: { size: 0.97 }
  },
  { title: 'eda', source: 'vm.img', peer: 'zstd', ours: build('-p eda'), theirs: zstd, marks: { wall: 1 } },
  {
    title: 'eda',
    source: 'vm.img',
    peer: 'mksquashfs',
    ours: build('-p eda'),
    theirs: squashfs('zstd -Xcompression-level 3', '128K'),
    marks: {}
  },
  { title: 'eda', source: 'vm.img', peer: 'qemu-img', ours: build('-p eda'), theirs: qcow2, marks: {} },
  {
    title: 'embedded',
    source: 'fw.img',
    peer: 'mksquashfs',
    ours: build('-p embedded'),
    theirs: squashfs('lz4', '16K'),
    marks: { wall: 1 }
  },
  { title: 'ml', source: 'ml.bin', peer: 'zstd', ours: build('-p ml'), theirs: zstd, marks: { wall: 1 } },
  {
    title: 'ml',
    source: 'ml.bin',
    peer: 'mksquashfs',
    ours: build('-p ml'),
    theirs: squashfs('zstd -Xcompression-level 3', '256K'),
    marks: {}
  },
  {
    title: 'encrypted',
    source: 'vm.img',
    peer: 'restic',
    ours: encrypted,
    theirs: restic,
    marks: { wall: 0.4 }
  },
  { title: 'encrypted', source: 'vm.img', peer: 'borg', ours: encrypted, theirs: borg, marks: { wall: 0.4 } },
  {
    title: 'encrypted, beside plain',
    source: 'vm.img',
    peer: 'hexz',
    ours: encrypted,
    theirs: plain,
    marks: { wall: 1.25 }
  },
  {
    title: '--cdc, beside fixed',
    source: 'vm.img',
    peer: 'hexz',
    ours: build('-p generic --cdc'),
    theirs: plain,
    marks: { wall: 1.2 }
  },
  {
    title: '--cdc',
    source: 'vm.img',
    peer: 'casync',
    ours: build('-p eda --cdc'),
    theirs: casync,
    marks: {}
  },
  {
    title: 'generic',
    source: 'random.bin',
    peer: 'cp',
    ours: build('-p generic'),
    theirs: copy,
    marks: { wall: 2 }
  },
  {
    title: 'generic',
    source: 'zeros.bin',
    peer: 'cp',
    ours: build('-p generic'),
    theirs: copy,
    marks: { wall: 1.5 }
  },
  {
    title: 'extract generic',
    source: 'vm.img',
    peer: 'unsquashfs',
    ours: extract('-p generic'),
    theirs: {
      setUp: squashfs('lz4', '64K').command,
      command: 'unsquashfs -quiet -no-progress -d $OUT/theirs $OUT/a.sqfs',
      made: 'theirs',
      prepare: 'rm -rf $OUT/theirs'
    },
    marks: { wall: 1 }
  },
  {
    title: 'extract eda',
    source: 'vm.img',
    peer: 'zstd',
    ours: extract('-p eda'),
    theirs: { ...restore(zstd, 'theirs', 'zstd -dq $OUT/a.zst -o'), prepare: 'rm -f $OUT/theirs' },
    marks: { wall: 1 }
  }
]
