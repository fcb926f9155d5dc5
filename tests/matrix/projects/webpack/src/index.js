const show = () => {
  document.querySelector('h1').textContent = require('./text.js')
}
show()
if (module.hot) module.hot.accept('./text.js', show)
