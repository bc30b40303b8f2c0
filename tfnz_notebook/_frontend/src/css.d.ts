// A style sheet is imported as its text (esbuild.mjs).
declare module "*.css" {
  const text: string;
  export default text;
}
