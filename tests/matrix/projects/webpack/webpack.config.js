module.exports = {
  entry: './src/index.js',
  devServer: {
    static: './public',
    host: process.env.HOST,
    port: process.env.PORT,
    hot: true,
  },
}
