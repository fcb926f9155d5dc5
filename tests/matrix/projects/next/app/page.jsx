export default function Page() {
  return <h1>Hello, limpet</h1>
}
