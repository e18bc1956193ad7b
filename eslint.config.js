import eslint from '@eslint/js'
import tseslint from 'typescript-eslint'

/** Imports run one way: cli → lib/commands → lib → transforms → pure parts. */
const pureParts = ['format', 'chunking', 'dedup', 'compression', 'crypto', 'nbd'].map(
  (folder) => `lib/${folder}/**/*.ts`
)
const noUpward = (files, patterns, message) => ({
  files,
  rules: { 'no-restricted-imports': ['error', { patterns: [{ regex: patterns, message }] }] }
})

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', '.tap/'] },
  eslint.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': 'error',
      'no-console': 'error',
      'max-lines': ['error', { max: 320, skipComments: false }]
    }
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    languageOptions: {
      globals: { process: 'readonly', console: 'readonly', Buffer: 'readonly', URL: 'readonly' }
    }
  },
  noUpward(
    pureParts,
    '(^node:(fs|net|stream|child_process|worker_threads)|transforms/|/commands/|/reader/|/source/|/target/|/build\\.js)',
    'a pure part imports no streams, no fs, and nothing that stands on it'
  ),
  noUpward(
    ['lib/{workers,source,target,reader,serve}/**/*.ts'],
    '(transforms/|/commands/|/build\\.js)',
    'imports run from commands to lib to transforms to pure parts'
  ),
  noUpward(
    ['transforms/**/*.ts'],
    '(/commands/|/build\\.js|/api\\.js)',
    'a stage knows nothing of who composes it'
  )
)
