export default function App() {
  return <h1>Hello, limpet</h1>
}
