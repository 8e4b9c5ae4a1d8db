/* control */
#include "relaypool.h"
