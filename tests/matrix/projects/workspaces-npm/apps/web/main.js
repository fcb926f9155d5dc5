import { text } from '@mx/words'

const show = (words) => {
  document.querySelector('h1').textContent = words
}
show(text)
import.meta.hot?.accept('@mx/words', (fresh) => show(fresh.text))
