/* resolve */
#include "relaypool.h"
