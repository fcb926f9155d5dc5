export const load = ({ cookies }) => ({ name: cookies.get('name') ?? 'nobody' })
